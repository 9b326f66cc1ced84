# render: one avatar follows one driver -> the avatar alone, and side by side with the driver.


rule render:
    input:
        model="results/avatars/{identity}/model.safetensors",
        crops="results/clips/{driver}/crops.zip",
        media=media,
        source="results/clips/{driver}/source.json",
    output:
        video=report(
            "results/renders/{identity}/{driver}.mp4",
            category="Videos",
            labels={"identity": "{identity}", "driver": "{driver}", "kind": "avatar"},
        ),
        side_by_side=report(
            "results/renders/{identity}/{driver}.side_by_side.mp4",
            category="Videos",
            labels={"identity": "{identity}", "driver": "{driver}", "kind": "side by side"},
        ),
    log:
        "logs/render/{identity}/{driver}.log",
    benchmark:
        "results/benchmarks/render/{identity}/{driver}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        gpu=1,
    params:
        code=code("render"),
        settings=section("render"),
        device=CONFIG.device,
    shell:
        "python -m workflow_scripts.render --model {input.model:q} --driver-crops {input.crops:q}"
        " --driver-media {input.media:q} --driver-source {input.source:q} --video {output.video:q}"
        " --side-by-side {output.side_by_side:q} --device {params.device} --threads {threads} --settings {params.settings:q} > {log:q} 2>&1"
