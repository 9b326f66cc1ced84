# mark: what was rendered, and avatars, say how they were made: Content Credentials, signed (docs/provenance.md).
# What it reads is kept in results/unsigned/, so that another key or note of consent signs again and renders nothing.
# The key is read where the job runs, from its path.

SIGNING = [str(path) for path in CONFIG.mark.signing_files().values()] if CONFIG.mark.enabled else []


rule mark:
    input:
        record=f"{UNSIGNED}.json",
        rendered=list(CONFIG.render.targets(UNSIGNED).values()),
        identity=identity_media,
        driver=media,
        signing=SIGNING,
    output:
        **report_outputs(RENDERED),
        credentials=SIDECARS,
    log:
        "logs/mark/{identity}/{driver}.log",
    benchmark:
        "results/benchmarks/mark/{identity}/{driver}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
    params:
        code=code("mark"),
        settings=section("mark", exclude={"label", "watermark_key"}),
        render=section("render"),
        consent=consent_flags,
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " mark --record {input.record:q} --stem results/renders/{wildcards.identity}/{wildcards.driver}"
        " --identity-media {input.identity:q} --driver-media {input.driver:q} {params.consent:q}"
        " --identity {wildcards.identity} --driver {wildcards.driver}"
        " --settings {params.settings:q} --render-settings {params.render:q}"


rule mark_model:
    input:
        model=UNSIGNED_MODEL,
        meta_model=META_MODEL,
        identity=identity_media,
        signing=SIGNING,
    output:
        model="results/avatars/{identity}/model.safetensors",
    log:
        "logs/mark/{identity}.log",
    benchmark:
        "results/benchmarks/mark/{identity}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
    params:
        code=code("mark"),
        settings=section("mark", exclude={"label", "watermark_key", "time_stamp"}),
        consent=consent_flags,
    shell:
        "exec python -m workflow_scripts.launch --log {log:q}"
        " mark --model {input.model:q} --meta-model {input.meta_model:q} --target {output.model:q}"
        " --identity-media {input.identity:q} {params.consent:q} --identity {wildcards.identity}"
        " --settings {params.settings:q}"
