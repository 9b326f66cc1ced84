# report: one self-contained page with everything that was made.
# What it shows is named in MANIFEST, which a run writes as it starts (common.smk, write_manifest): the names of hundreds
# of files are more than the system lets one command line hold.
# A run in which jobs fail ends with PARTIAL_PAGE in its place, about what is there (common.smk, describe_failures).


rule report:
    input:
        clips=expand("results/clips/{clip}/{file}", clip=CLIPS, file=["source.json", "crops.zip", "mattes.zip"]),
        meta=[rules.meta.output.curves, rules.meta.output.preview] if CONFIG.meta.source == "train" else [],
        sweeps=expand("results/avatars/{identity}/sweep", identity=IDENTITIES),
        avatars=expand(
            "results/avatars/{identity}/{file}",
            identity=IDENTITIES,
            file=["scores.csv", "sweep.csv", "selected.json"],
        ),
        renders=files_of(VIDEOS),
    output:
        page="results/report/index.html",
    log:
        "logs/report/report.log",
    benchmark:
        "results/benchmarks/report/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1500,
    params:
        code=code("report"),
        settings=section("report"),
        manifest=str(MANIFEST),
        config=CONFIG.model_dump_json(),
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " report --manifest {params.manifest:q} --page {output.page:q} --settings {params.settings:q}"
