# What the rules share: the validated configuration, and where things lie.

import os
import re
import sys

from reenact.cluster.devices import visible_devices
from reenact.runtime.errors import UserError
from reenact.runtime.code_fingerprint import code
from reenact.settings.files import repeated_keys
from reenact.settings.workflow import FETCHED, load_config

try:
    CONFIG = load_config(config, "the configuration", repeated_keys(workflow.configfiles))
except UserError as error:
    sys.exit(f"error: {error}")

IDENTITIES = list(CONFIG.identities)
CLIPS = [*CONFIG.identities, *CONFIG.drivers]
RENDERED = CONFIG.render.targets("results/renders/{identity}/{driver}")
RENDERS = [
    path.format(identity=identity, driver=driver)
    for identity, driver in CONFIG.rendered_pairs()
    for path in RENDERED.values()
]
SHARDS = [f"{number:05d}-of-{CONFIG.meta.shards:05d}" for number in range(CONFIG.meta.shards)] if CONFIG.meta.set else []
META = f"results/meta/{CONFIG.meta.name}"
META_MODEL = CONFIG.meta_model(trained=f"{META}/model.safetensors", imported=f"{META}/imported.safetensors")
ENVIRONMENT = "../envs/reenact.yaml"
CORES = workflow.resource_settings.cores or 1
# A stage whose networks run on the CPU by the configuration asks for no GPU.
GPU = 0 if CONFIG.device == "cpu" else 1
# Training at 256 px on a CPU took 4.7 GB at batch 1 and about 16 GB at batch 8; beside a GPU it needs less.
TRAINING_MB = 4000 if CONFIG.model.image_size <= 128 else 16000
# For SLURM's plugin a job that starts its processes on several nodes by itself is one of MPI, with a task on each node.
SPREAD = {"tasks": CONFIG.meta.nodes, "tasks_per_gpu": 0, "mpi": "srun"} if CONFIG.meta.nodes > 1 else {}

# On this machine, no more jobs at once than it has GPUs; without any, they run on the CPU. (`--jobs` counts jobs on other machines.)
if GPU and workflow.is_main_process and workflow.resource_settings.nodes is None and "gpu" not in workflow.global_resources:
    visible = visible_devices(os.environ)[: 1 if ":" in CONFIG.device else None]
    if visible:
        workflow.register_resource("gpu", len(visible))


wildcard_constraints:
    clip=r"[A-Za-z0-9_-]+",
    identity=r"[A-Za-z0-9_-]+",
    driver=r"[A-Za-z0-9_-]+",
    number=r"\d{5}",


def section(name, only=None, without=None, said=False):
    """Settings of one section as YAML text for a stage's --settings; those that are left out stay at their defaults.

    said: only what the configuration says, so that a checkpoint's settings come before defaults.
    """
    return getattr(CONFIG, name).model_dump_json(include=only, exclude=without, exclude_unset=said)


def marked(outputs):
    """Outputs of a pair as Snakemake wants them: folders marked, and videos for its own report."""
    labels = {"identity": "{identity}", "driver": "{driver}"}
    return {
        kind: directory(path)
        if kind == "frames"
        else report(path, category="Videos", labels=labels | {"kind": kind.replace("_", " ")})
        for kind, path in outputs.items()
    }


def media(wildcards):
    """File or folder of a clip."""
    return CONFIG.clip(getattr(wildcards, "clip", None) or wildcards.driver).media


def fetched_flags(wildcards):
    """Params function: where a fetched file comes from, and its hash, as flags."""
    source = CONFIG.fetch.files[wildcards.file].model_dump(exclude_none=True)
    return [f"--{key}={value}" for key, value in source.items()]


def clip_flags(wildcards):
    """Params function: role, stretch and holdout of a clip as flags."""
    clip = CONFIG.clip(wildcards.clip)
    flags = [f"--role={'identity' if wildcards.clip in CONFIG.identities else 'driver'}"]
    flags += [f"--{end}={getattr(clip, end)}" for end in ("start", "end") if getattr(clip, end) is not None]
    return flags + ([f"--holdout={clip.holdout}"] if hasattr(clip, "holdout") else [])


def face_flag(wildcards):
    """Params function: whom to follow in a clip, as a flag, where the clip says so itself."""
    face = CONFIG.clip(wildcards.clip).face
    return [] if face is None else [f"--face={face}"]


def cross_driver(stage_file):
    """Input function: a file of the driver that cross-drives an identity."""

    def path(wildcards):
        return f"results/clips/{CONFIG.cross_driver(wildcards.identity)}/{stage_file}"

    return path
