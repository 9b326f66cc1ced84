# import_published: a checkpoint of the published code, where meta.source names one -> a model file for finetune.


rule import_published:
    input:
        checkpoint=CONFIG.imported_checkpoint() or [],
    output:
        model=f"{META}/imported.safetensors",
    log:
        f"logs/import_published/{CONFIG.meta.name}.log",
    benchmark:
        f"results/benchmarks/import_published/{CONFIG.meta.name}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=5000,
    params:
        code=code("import_published"),
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " import_published --checkpoint {input.checkpoint:q} --model {output.model:q}"
