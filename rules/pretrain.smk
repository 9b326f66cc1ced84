# pretrain: crops and mattes of many clips, or shards -> the pose encoder of the warping family.
# It learns from the clips that stage meta learns from. Nobody needs it where meta.source names a finished model.
# Checkpoints lie in results/runs/pretrain/, which is no output: a killed run goes on from there.


rule pretrain:
    input:
        crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta_clips()),
        mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta_clips()),
        shards=expand("results/shards/{shard}.tar", shard=SHARDS),
        indices=expand("results/shards/{shard}.npz", shard=SHARDS),
        validation_crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta.validate_clips),
        validation_mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta.validate_clips),
        landmarker=str(FETCHED / FACE_LANDMARKER),
    output:
        encoder=f"{PRETRAINED}/encoder.safetensors",
        curves=f"{PRETRAINED}/curves.csv",
        metrics=f"{PRETRAINED}/metrics.json",
    log:
        f"logs/pretrain/{CONFIG.pretrain.name}.log",
    benchmark:
        f"results/benchmarks/pretrain/{CONFIG.pretrain.name}.tsv"
    conda:
        ENVIRONMENT
    threads: CORES
    resources:
        mem_mb=8000,
        gpu=GPU,
    params:
        code=code("pretrain"),
        settings=section("pretrain"),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " pretrain --crops {input.crops:q} --mattes {input.mattes:q} --shard-files {input.shards:q}"
        " --validation-crops {input.validation_crops:q} --validation-mattes {input.validation_mattes:q}"
        " --landmarker {input.landmarker:q}"
        " --encoder {output.encoder:q} --curves {output.curves:q} --metrics {output.metrics:q}"
        " --runs results/runs/pretrain --threads {threads} --settings {params.settings:q}"
