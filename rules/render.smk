# render: one avatar follows one driver -> the outputs that render.outputs names, beside each other.


rule render:
    input:
        model="results/avatars/{identity}/model.safetensors",
        identity_crops="results/clips/{identity}/crops.zip",
        crops="results/clips/{driver}/crops.zip",
        media=media,
        source="results/clips/{driver}/source.json",
        files=[str(path) for path in CONFIG.render.files().values()],
    output:
        **report_outputs(RENDERED),
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
        device=CONFIG.device,
    shell:
        "exec python -m workflow_scripts.launch --device {params.device} --gpus {resources.gpu} --log {log:q}"
        " render --model {input.model:q} --identity-crops {input.identity_crops:q}"
        " --driver-crops {input.crops:q} --driver-media {input.media:q} --driver-source {input.source:q}"
        " --stem results/renders/{wildcards.identity}/{wildcards.driver} --threads {threads}"
        " --settings {params.settings:q}"
