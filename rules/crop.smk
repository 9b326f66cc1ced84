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
    threads: min(2, CORES)
    resources:
        mem_mb=2500,
        gpu=GPU * (CONFIG.crop.detector == "face-alignment"),
    params:
        code=code("crop"),
        settings=section("crop"),
        face=face_flag,
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " crop --media {input.media:q} --frames {input.frames:q} --crops {output.crops:q}"
        " --threads {threads} --settings {params.settings:q} {params.face:q}"
