# decode: the media of one clip -> exact frame times, and which frames are used.
# No pictures are stored: crop reads the media again, in step with the table.


rule decode:
    input:
        media=media,
    output:
        frames="results/clips/{clip}/frames.csv",
        source="results/clips/{clip}/source.json",
    log:
        "logs/decode/{clip}.log",
    benchmark:
        "results/benchmarks/decode/{clip}.tsv"
    conda:
        ENVIRONMENT
    threads: min(2, CORES)
    resources:
        mem_mb=1000,
    params:
        code=code("decode"),
        settings=section("decode"),
        flags=clip_flags,
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " decode --media {input.media:q} --frames {output.frames:q}"
        " --source {output.source:q} --threads {threads} {params.flags:q} --settings {params.settings:q}"
