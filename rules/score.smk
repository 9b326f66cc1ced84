# score: what the driven models of a sweep look like against the truth, in numbers.


rule score:
    input:
        driven="results/avatars/{identity}/driven.zip",
        crops="results/clips/{identity}/crops.zip",
        mattes="results/clips/{identity}/mattes.zip",
        driver_crops=cross_driver("crops.zip"),
        driver_mattes=cross_driver("mattes.zip"),
        descriptor=CONFIG.score.descriptor_weights,
    output:
        scores="results/avatars/{identity}/scores.csv",
        frame_scores="results/avatars/{identity}/frame_scores.csv",
    log:
        "logs/score/{identity}.log",
    benchmark:
        "results/benchmarks/score/{identity}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
    params:
        code=code("score"),
        settings=section("score"),
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " score --driven {input.driven:q} --identity-crops {input.crops:q} --identity-mattes {input.mattes:q}"
        " --driver-crops {input.driver_crops:q} --driver-mattes {input.driver_mattes:q}"
        " --scores {output.scores:q} --frame-scores {output.frame_scores:q} --settings {params.settings:q}"
