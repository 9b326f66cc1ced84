# segment: crops of one clip -> mattes of the person.


rule segment:
    input:
        crops="results/clips/{clip}/crops.zip",
    output:
        mattes="results/clips/{clip}/mattes.zip",
    log:
        "logs/segment/{clip}.log",
    benchmark:
        "results/benchmarks/segment/{clip}.tsv"
    conda:
        ENVIRONMENT
    threads: min(2, CORES)
    resources:
        mem_mb=2500,
        gpu=GPU * (CONFIG.segment.network == "transformers"),
    params:
        code=code("segment"),
        settings=section("segment"),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " segment --crops {input.crops:q} --mattes {output.mattes:q}"
        " --threads {threads} --settings {params.settings:q}"
