# finetune: crops and mattes of one person + the meta-model -> a model at every iteration of the sweep.
# Checkpoints lie in results/runs/finetune/, which is no output: a killed run goes on from there.


rule finetune:
    input:
        crops="results/clips/{identity}/crops.zip",
        mattes="results/clips/{identity}/mattes.zip",
        meta=META_MODEL,
        perceptual=list(CONFIG.finetune.weight_files().values()),
    output:
        sweep=directory("results/avatars/{identity}/sweep"),
    log:
        "logs/finetune/{identity}.log",
    benchmark:
        "results/benchmarks/finetune/{identity}.tsv"
    conda:
        ENVIRONMENT
    threads: CORES
    resources:
        mem_mb=TRAINING_MB,
        gpu=GPU,
    params:
        code=code("finetune"),
        settings=section("finetune", exclude={"choose"}),
        crop_scale=CONFIG.finetune.crop_scale or CONFIG.crop.scale,
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " finetune --crops {input.crops:q} --mattes {input.mattes:q} --meta {input.meta:q}"
        " --sweep-folder {output.sweep:q} --runs results/runs/finetune --threads {threads}"
        " --settings {params.settings:q} --crop-scale {params.crop_scale}"
