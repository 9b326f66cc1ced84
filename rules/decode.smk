# decode: the media of one clip -> exact frame times, and which frames are used.
# No pictures are stored: crop reads the media again, in step with the table.


def clip_flags(wildcards):
    """Params function: role, stretch and holdout of a clip as flags."""
    clip = CONFIG.clip(wildcards.clip)
    flags = [f"--role={'identity' if wildcards.clip in CONFIG.identities else 'driver'}"]
    flags += [f"--{end}={getattr(clip, end)}" for end in ("start", "end") if getattr(clip, end) is not None]
    return flags + ([f"--holdout={clip.holdout}"] if hasattr(clip, "holdout") else [])


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
    threads: 1
    resources:
        mem_mb=1000,
    params:
        code=code("decode"),
        settings=section("decode"),
        flags=clip_flags,
    shell:
        "python -m workflow_scripts.decode --media {input.media:q} --frames {output.frames:q}"
        " --source {output.source:q} {params.flags:q} --settings {params.settings:q} > {log:q} 2>&1"
