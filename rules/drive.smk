# drive: every model of a sweep follows the identity's held-out frames and another person's video.


rule drive:
    input:
        sweep="results/avatars/{identity}/sweep",
        crops="results/clips/{identity}/crops.zip",
        driver_crops=cross_driver("crops.zip"),
    output:
        driven="results/avatars/{identity}/driven.zip",
    log:
        "logs/drive/{identity}.log",
    benchmark:
        "results/benchmarks/drive/{identity}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        gpu=GPU,
    params:
        code=code("drive"),
        settings=section("drive"),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " drive --sweep {input.sweep:q} --identity-crops {input.crops:q}"
        " --driver-crops {input.driver_crops:q} --driven {output.driven:q} --threads {threads}"
        " --settings {params.settings:q}"
