# meta: crops and mattes of many clips -> one model that can be anybody; or takes it from a file.
# Checkpoints lie in results/runs/meta/, which is no output: a killed run goes on from there.


rule meta:
    input:
        crops=expand("results/clips/{clip}/crops.zip", clip=CONFIG.meta_clips()),
        mattes=expand("results/clips/{clip}/mattes.zip", clip=CONFIG.meta_clips()),
        source=[] if META_SOURCE == "train" else META_SOURCE,
        perceptual=list(CONFIG.meta.weight_files().values()),
    output:
        model=f"{META}/model.safetensors",
        curves=f"{META}/curves.csv",
        preview=f"{META}/preview.png",
    log:
        f"logs/meta/{CONFIG.meta.name}.log",
    benchmark:
        f"results/benchmarks/meta/{CONFIG.meta.name}.tsv"
    conda:
        ENVIRONMENT
    threads: CORES
    resources:
        mem_mb=4000,
        gpu=GPU,
        nodes=1,
    params:
        code=code("meta"),
        settings=section("meta"),
        model=section("model"),
        source=META_SOURCE,
        device=DEVICE,
    shell:
        "{LAUNCH} --gpus {resources.gpu} --nodes {resources.nodes} --threads {threads} --distributed --log {log:q} meta --crops {input.crops:q} --mattes {input.mattes:q} --model {output.model:q}"
        " --curves {output.curves:q} --preview {output.preview:q} --runs results/runs/meta --device {params.device}"
        " --threads {threads} --settings {params.settings:q} --source {params.source:q} --model-settings {params.model:q}"
