# render: one avatar follows one driver -> the outputs that render.outputs names, beside each other, with a watermark and not yet
# signed: rule mark does that.


rule render:
    input:
        model=UNSIGNED_MODEL,
        identity_crops="results/clips/{identity}/crops.zip",
        crops="results/clips/{driver}/crops.zip",
        media=media,
        source="results/clips/{driver}/source.json",
        files=[str(path) for path in (CONFIG.render.files() | CONFIG.mark.embedding_files()).values()],
    output:
        **unsigned_outputs(CONFIG.render.targets(UNSIGNED)),
        record=f"{UNSIGNED}.json",
    log:
        "logs/render/{identity}/{driver}.log",
    benchmark:
        "results/benchmarks/render/{identity}/{driver}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        gpu=GPU,
    params:
        code=code("render"),
        settings=section("render"),
        mark=section("mark", include=EMBEDDING),
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " render --model {input.model:q} --identity-crops {input.identity_crops:q}"
        " --driver-crops {input.crops:q} --driver-media {input.media:q} --driver-source {input.source:q}"
        " --stem results/unsigned/{wildcards.identity}/{wildcards.driver} --threads {threads}"
        " --settings {params.settings:q} --mark-settings {params.mark:q}"
