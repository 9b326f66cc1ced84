# meta: crops and mattes of many clips, or shards -> one model that can be anybody.
# Nobody needs it where meta.source names a finished model. Checkpoints, statistics and TensorBoard lie in
# results/runs/meta/, which is no output: a killed run goes on from there.

# People whom the model is tried on while it learns; they are measured as avatars are.
VALIDATED = bool(CONFIG.meta.validate_clips or SHARDS)


rule meta:
    input:
        crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta_clips()),
        mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta_clips()),
        shards=expand("results/shards/{shard}.tar", shard=SHARDS),
        indices=expand("results/shards/{shard}.npz", shard=SHARDS),
        validation_crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta.validate_clips),
        validation_mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta.validate_clips),
        descriptor=[CONFIG.score.descriptor_weights] if VALIDATED else [],
        perceptual=list(CONFIG.meta.weight_files().values()),
        start=START,
    output:
        model=f"{META}/model.safetensors",
        curves=f"{META}/curves.csv",
        metrics=f"{META}/metrics.json",
        preview=f"{META}/preview.png",
    log:
        f"logs/meta/{CONFIG.meta.name}.log",
    benchmark:
        f"results/benchmarks/meta/{CONFIG.meta.name}.tsv"
    conda:
        ENVIRONMENT
    threads: CORES
    resources:
        **SPREAD,
        mem_mb=TRAINING_MB,
        gpu=GPU * CONFIG.meta.processes,
        processes=CONFIG.meta.processes,
        nodes=CONFIG.meta.nodes,
    params:
        code=code("meta"),
        settings=explicit("meta", exclude={"source", "validate_clips", "processes", "nodes"}),
        score=section("score", exclude={"identity_frames", "reference_frames"}) if VALIDATED else "{}",
        model=explicit("model"),
        crop_scale=CONFIG.meta.crop_scale or CONFIG.crop.scale,
        start=[f"--start={file}" for file in START],
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " --processes {resources.processes} --nodes {resources.nodes} --threads {threads}"
        " meta --crops {input.crops:q} --mattes {input.mattes:q} --model {output.model:q}"
        " --shard-files {input.shards:q}"
        " --validation-crops {input.validation_crops:q} --validation-mattes {input.validation_mattes:q}"
        " --curves {output.curves:q} --metrics {output.metrics:q} --preview {output.preview:q}"
        " --runs results/runs/meta --threads {threads} --processes {resources.processes}"
        " --settings {params.settings:q} {params.start:q} --crop-scale {params.crop_scale} --model-settings {params.model:q} --score-settings {params.score:q}"
