# meta: crops and mattes of many clips, or shards -> one model that can be anybody; or takes it from a file.
# Checkpoints lie in results/runs/meta/, which is no output: a killed run goes on from there.


rule meta:
    input:
        crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta_clips()),
        mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta_clips()),
        shards=expand("results/shards/{shard}.tar", shard=SHARDS),
        indices=expand("results/shards/{shard}.npz", shard=SHARDS),
        source=[] if META_SOURCE == "train" else META_SOURCE,
        perceptual=list(CONFIG.meta.weight_files().values()),
    output:
        model=f"{META}/model.safetensors",
        curves=f"{META}/curves.csv",
        preview=f"{META}/preview.png",
    log:
        f"logs/meta/{CONFIG.meta.name}.log",
    benchmark:
        f"results/benchmarks/meta/{CONFIG.meta.name}.tsv"
    conda:
        ENVIRONMENT
    threads: CORES
    resources:
        mem_mb=4000,
        gpu=1,
    params:
        code=code("meta"),
        settings=section("meta"),
        model=section("model"),
        source=META_SOURCE,
        device=CONFIG.device,
    shell:
        "python -m workflow_scripts.meta --crops {input.crops:q} --mattes {input.mattes:q} --shard-files {input.shards:q} --model {output.model:q}"
        " --curves {output.curves:q} --preview {output.preview:q} --runs results/runs/meta --device {params.device}"
        " --threads {threads} --settings {params.settings:q} --source {params.source:q} --model-settings {params.model:q} > {log:q} 2>&1"
