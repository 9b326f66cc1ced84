# Photos or a video of a person + a driving video -> the person's head doing what the driver does.
# This file is the table of contents; each stage is one rule in rules/<stage>.smk.

from snakemake.utils import min_version

min_version("9.5")


configfile: "config.yaml"


# Of Snakemake's own report (`snakemake --report report.html`); the page of the rule `report` is another.
report: "rules/captions/workflow.rst"


# Where `--sdm apptainer` runs the stages; made from containers/reenact.def.
container: "reenact.sif"


include: "rules/common.smk"
include: "rules/fetch.smk"
include: "rules/decode.smk"
include: "rules/crop.smk"
include: "rules/segment.smk"
include: "rules/dataset.smk"
include: "rules/shard.smk"
include: "rules/import_published.smk"
include: "rules/pretrain.smk"
include: "rules/fit.smk"
include: "rules/meta.smk"
include: "rules/finetune.smk"
include: "rules/drive.smk"
include: "rules/score.smk"
include: "rules/select.smk"
include: "rules/render.smk"
include: "rules/mark.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        "results/report/index.html",
        files_of(AVATARS),
        files_of(VIDEOS),


onstart:
    write_manifest()


onerror:
    describe_failures(log)


onsuccess:
    drop_partial_page()
