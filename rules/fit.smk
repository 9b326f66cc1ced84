# fit: crops and mattes of many clips, or shards, and the pose encoder -> a model of the warping family whose refiner has
# not learned yet. Stage meta begins with it where model.preset is warping and meta.start names nothing else.


rule fit:
    input:
        crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta_clips()),
        mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta_clips()),
        shards=expand("results/shards/{shard}.tar", shard=SHARDS),
        indices=expand("results/shards/{shard}.npz", shard=SHARDS),
        encoder=rules.pretrain.output.encoder,
        landmarker=rules.pretrain.input.landmarker,
    output:
        start=FITTED,
    log:
        f"logs/fit/{CONFIG.pretrain.name}.log",
    benchmark:
        f"results/benchmarks/fit/{CONFIG.pretrain.name}.tsv"
    conda:
        ENVIRONMENT
    threads: CORES
    resources:
        mem_mb=4000,
        gpu=GPU,
    params:
        code=code("fit"),
        settings=section("fit"),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " fit --crops {input.crops:q} --mattes {input.mattes:q} --shard-files {input.shards:q}"
        " --encoder {input.encoder:q} --landmarker {input.landmarker:q} --start {output.start:q}"
        " --threads {threads} --settings {params.settings:q}"
