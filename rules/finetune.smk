# finetune: crops and mattes of one person + the meta-model -> a model at every iteration of the sweep.
# Checkpoints lie in results/runs/finetune/, which is no output: a killed run goes on from there.


rule finetune:
    input:
        crops="results/clips/{identity}/crops.zip",
        mattes="results/clips/{identity}/mattes.zip",
        meta=rules.meta.output.model,
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
        mem_mb=4000,
        gpu=1,
    params:
        code=code("finetune"),
        settings=section("finetune"),
        device=CONFIG.device,
    shell:
        "python -m workflow_scripts.finetune --crops {input.crops:q} --mattes {input.mattes:q} --meta {input.meta:q}"
        " --sweep-folder {output.sweep:q} --runs results/runs/finetune --device {params.device} --threads {threads}"
        " --settings {params.settings:q} > {log:q} 2>&1"
