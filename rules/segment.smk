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
    threads: 1
    resources:
        mem_mb=1500,
    params:
        code=code("segment"),
        settings=section("segment"),
    shell:
        "python -m workflow_scripts.segment --crops {input.crops:q} --mattes {output.mattes:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"
