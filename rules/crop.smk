# crop: media + frame table of one clip -> square crops around the tracked face, and where each was cut out.


rule crop:
    input:
        media=media,
        frames="results/clips/{clip}/frames.csv",
    output:
        crops="results/clips/{clip}/crops.zip",
    log:
        "logs/crop/{clip}.log",
    benchmark:
        "results/benchmarks/crop/{clip}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1500,
    params:
        code=code("crop"),
        settings=section("crop"),
    shell:
        "python -m workflow_scripts.crop --media {input.media:q} --frames {input.frames:q}"
        " --crops {output.crops:q} --settings {params.settings:q} > {log:q} 2>&1"
