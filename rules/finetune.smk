# finetune: crops and mattes of one person + the meta-model -> a model at every iteration of the sweep.
# The sweep is watched on a few frames: it ends after a clear turn, and goes on once where its last iteration is the best.
# Checkpoints lie in results/runs/finetune/, which is no output: a killed run goes on from there.


rule finetune:
    input:
        crops="results/clips/{identity}/crops.zip",
        mattes="results/clips/{identity}/mattes.zip",
        meta=META_MODEL,
        driver_crops=cross_driver("crops.zip"),
        driver_mattes=cross_driver("mattes.zip"),
        descriptor=CONFIG.score.descriptor_weights,
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
        settings=section("finetune", without={"choose"}),
        score=section("score", only={"descriptor", "descriptor_weights", "descriptor_licence", "min_confidence"}),
        select=section("select", only={"identity_weight"}),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q} finetune --crops {input.crops:q} --mattes {input.mattes:q} --meta {input.meta:q}"
        " --driver-crops {input.driver_crops:q} --driver-mattes {input.driver_mattes:q}"
        " --sweep-folder {output.sweep:q} --runs results/runs/finetune --threads {threads}"
        " --settings {params.settings:q} --score-settings {params.score:q} --select-settings {params.select:q}"
