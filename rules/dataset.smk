# dataset: a table or folder of clips (meta.set) -> one table of all of them: who is seen, who validates, which shard.
# Media are not looked at, so that 150,000 clips are one short job.


rule dataset:
    input:
        source=CONFIG.meta.set or [],
        splits=[file for file in (CONFIG.dataset.train_split, CONFIG.dataset.validation_split) if file],
    output:
        clips="results/dataset/clips.csv",
    log:
        "logs/dataset/clips.log",
    benchmark:
        "results/benchmarks/dataset/clips.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
    params:
        code=code("dataset"),
        settings=section("dataset"),
        shards=CONFIG.meta.shards,
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " dataset --source {input.source:q} --clips {output.clips:q} --shards {params.shards}"
        " --settings {params.settings:q}"
