# What the rules share: the validated configuration, and where things lie.

import re
import sys

from reenact.errors import CONTINUE_STATUS, UserError
from reenact.provenance import WATCHING, code
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
SHARDS = [f"{number:05d}-of-{CONFIG.meta.shards:05d}" for number in range(CONFIG.meta.shards)] if CONFIG.meta_set() else []
ENVIRONMENT = "../envs/reenact.yaml"
CORES = workflow.resource_settings.cores or 1
# For `until COMMAND; do AGAIN; done`: a stage that was told to stop and has saved its state is started again, at once and here.
AGAIN = f"[ $? -eq {CONTINUE_STATUS} ] || exit 1"


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


def fetched(key):
    """Params function: one fact about a fetched file."""

    def value(wildcards):
        return getattr(CONFIG.fetch.files[wildcards.file], key)

    return value


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
