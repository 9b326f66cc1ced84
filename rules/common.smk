# What the rules share: the validated configuration, where things lie, and what a run is to build.

import json
import os
import re
import sys
from pathlib import Path

from reenact.cluster.devices import visible_devices
from reenact.cluster.failures import Target, failure_table, read_failures, report_what_is_there
from reenact.project.run import STOPPED
from reenact.runtime.code_fingerprint import code
from reenact.runtime.errors import UserError
from reenact.runtime.files import write_text
from reenact.settings.fetch import FACE_LANDMARKER
from reenact.settings.files import load_config, repeated_keys
from reenact.settings.mark import EMBEDDING
from reenact.settings.workflow import FETCHED

if os.name == "nt":
    shell.executable("bash")  # Git for Windows brings one; rules are written for it
try:
    CONFIG = load_config(config, "the configuration", repeated_keys(workflow.configfiles))
except UserError as error:
    sys.exit(f"error: {error}")

IDENTITIES = list(CONFIG.identities)
CLIPS = [*CONFIG.identities, *CONFIG.drivers]
RENDERED = CONFIG.render.targets("results/renders/{identity}/{driver}")
SIDECARS = list(CONFIG.render.sidecars("results/renders/{identity}/{driver}").values()) if CONFIG.mark.enabled else []
UNSIGNED = "results/unsigned/{identity}/{driver}"
UNSIGNED_MODEL = "results/unsigned/{identity}.safetensors"
PARTIAL_PAGE = Path("results/report/partial.html")
MANIFEST = Path("results/report/manifest.json")
META = f"results/meta/{CONFIG.meta.name}"
PRETRAINED = f"results/pretrain/{CONFIG.pretrain.name}"
FITTED = f"{PRETRAINED}/start.safetensors"
START = CONFIG.meta_start(fitted=FITTED)
META_MODEL = CONFIG.meta_model(trained=f"{META}/model.safetensors", imported=f"{META}/imported.safetensors")
SHARDS = [f"{number:05d}-of-{CONFIG.meta.shards:05d}" for number in range(CONFIG.meta.shards if CONFIG.meta.set else 0)]

AVATARS = [
    Target(
        name=f"avatar {identity}",
        files=[f"results/avatars/{identity}/model.safetensors"],
        clips=[identity, CONFIG.cross_driver(identity)],
    )
    for identity in IDENTITIES
]
VIDEOS = [
    Target(
        name=f"video {identity}/{driver}",
        files=[path.format(identity=identity, driver=driver) for path in [*RENDERED.values(), *SIDECARS]],
        clips=[identity, driver, CONFIG.cross_driver(identity)],
    )
    for identity, driver in CONFIG.rendered_pairs()
]

ENVIRONMENT = "../envs/reenact.yaml"
CORES = workflow.resource_settings.cores or 1
# A stage whose networks run on the CPU by the configuration asks for no GPU.
GPU = 0 if CONFIG.device == "cpu" else 1
# Training at 256 px on a CPU took 4.7 GB at batch 1 and about 16 GB at batch 8; beside a GPU it needs less.
TRAINING_MB = 4000 if CONFIG.model.image_size <= 128 else 16000
# For SLURM's plugin a job that starts its processes on several nodes by itself is one of MPI, with a task on each node.
SPREAD = {"tasks": CONFIG.meta.nodes, "tasks_per_gpu": 0, "mpi": "srun"} if CONFIG.meta.nodes > 1 else {}

# No more jobs at once than this machine has GPUs; without any, they run on the CPU. (`--jobs` counts jobs on others.)
ON_THIS_MACHINE = workflow.is_main_process and workflow.resource_settings.nodes is None
if GPU and ON_THIS_MACHINE and "gpu" not in workflow.global_resources:
    visible = visible_devices(os.environ)[: 1 if ":" in CONFIG.device else None]
    if visible:
        workflow.register_resource("gpu", len(visible))


wildcard_constraints:
    clip=r"[A-Za-z0-9_-]+",
    identity=r"[A-Za-z0-9_-]+",
    driver=r"[A-Za-z0-9_-]+",
    number=r"\d{5}",


def files_of(targets):
    """Files of targets, one behind the other."""
    return [file for target in targets for file in target.files]


def section(name, exclude=None, include=None):
    """Settings of one section as YAML text for a stage's --settings; those that are left out stay at their defaults."""
    return getattr(CONFIG, name).model_dump_json(exclude=exclude, include=include)


def explicit(section, exclude=()):
    """What the configuration itself says of a section, so that a checkpoint comes before presets and defaults."""
    return json.dumps({key: value for key, value in (config.get(section) or {}).items() if key not in exclude})


def unsigned_outputs(outputs):
    """Outputs of a pair before they are signed."""
    return {kind: directory(path) if kind == "frames" else path for kind, path in outputs.items()}


def report_outputs(outputs):
    """Outputs of a pair as Snakemake wants them: folders marked, and videos for its own report."""
    labels = {"identity": "{identity}", "driver": "{driver}"}
    return {
        kind: (
            directory(path)
            if kind == "frames"
            else report(
                path, caption="captions/video.rst", category="Videos", labels=labels | {"kind": kind.replace("_", " ")}
            )
        )
        for kind, path in outputs.items()
    }


def media(wildcards):
    """File or folder of a clip."""
    return CONFIG.clip(getattr(wildcards, "clip", None) or wildcards.driver).media


def identity_media(wildcards):
    """File or folder of an identity."""
    return CONFIG.identities[wildcards.identity].media


def consent_flags(wildcards):
    """Params function: why a face may be used, as flags."""
    person = CONFIG.identities[wildcards.identity]
    flags = [f"--consent={person.consent}"] if person.consent else []
    return flags + ([f"--consent-note={person.consent_note}"] if person.consent_note else [])


def chosen_iteration(wildcards):
    """Params function: the iteration that the user wants as the avatar, or auto."""
    return CONFIG.chosen_iteration(wildcards.identity)


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


def write_manifest():
    """As a run starts: name what its page is about."""
    manifest = {"config": CONFIG.model_dump(mode="json"), "inputs": list(rules.report.input)}
    write_text(MANIFEST, json.dumps(manifest, indent=1) + "\n")


def describe_failures(snakemake_logs):
    """After a run in which jobs failed: what was not built and why, and a page about what is there."""
    failures = read_failures(snakemake_logs)
    if not failures or os.environ.get(STOPPED):
        return
    print("\nNot everything was built. logs/<failed job>.log has all that a job printed.\n")
    print(failure_table(failures, [*AVATARS, *VIDEOS], CLIPS), end="\n\n")
    arguments = ["--manifest", str(MANIFEST), "--settings", section("report")]
    print(report_what_is_there(rules.report.input, arguments, PARTIAL_PAGE), end="\n\n")


def drop_partial_page():
    """After a run that succeeded: the page about what was there goes, where a whole one is newer."""
    page = Path(rules.report.output.page)
    if PARTIAL_PAGE.exists() and page.exists() and page.stat().st_mtime > PARTIAL_PAGE.stat().st_mtime:
        PARTIAL_PAGE.unlink()
