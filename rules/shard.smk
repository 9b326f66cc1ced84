# shard: one part of the meta-learning set, decoded, cropped and segmented -> one file of pictures, and its index.
# Finished clips lie in results/runs/shard/, which is no output: a killed job goes on from there.
# Broken clips are recorded.


rule shard:
    input:
        clips=rules.dataset.output.clips,
    output:
        shard="results/shards/{number}-of-{total}.tar",
        index="results/shards/{number}-of-{total}.npz",
        failures="results/shards/{number}-of-{total}.failures.csv",
    log:
        "logs/shard/{number}-of-{total}.log",
    benchmark:
        "results/benchmarks/shard/{number}-of-{total}.tsv"
    conda:
        ENVIRONMENT
    threads: min(2, CORES)
    resources:
        mem_mb=3000,
        gpu=GPU * (CONFIG.crop.detector == "face-alignment" or CONFIG.segment.network == "transformers"),
    params:
        code=code("shard"),
        settings=section("shard"),
        decode=section("decode"),
        crop=section("crop"),
        segment=section("segment"),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " shard --clips {input.clips:q} --number {wildcards.number} --shards {wildcards.total}"
        " --shard {output.shard:q} --failures {output.failures:q} --runs results/runs/shard"
        " --threads {threads} --settings {params.settings:q} --decode-settings {params.decode:q}"
        " --crop-settings {params.crop:q} --segment-settings {params.segment:q}"
