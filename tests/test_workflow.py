"""The whole workflow, at toy length but on real video: what comes out, and what runs again when something changes."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import av
import pandas as pd
import pytest
import yaml
from tree import ROOT

STAGES = {"fetch", "decode", "crop", "segment", "meta", "finetune", "drive", "score", "select"}
STAGES |= {"render", "mark", "report"}
TOY = {
    "identities": {
        "pexels_woman": {"media": "media/WolfgangLanger_Pexels.mp4", "end": 1.5, "holdout": 0.4},
        "astronaut": {"media": "media/astronaut.png"},
    },
    "drivers": {
        "single_face": {"media": "media/single_face.mp4", "end": 0.5},
        "carphone": {"media": "media/carphone_pristine.mp4", "end": 0.4},
    },
    "pairs": [["pexels_woman", "single_face"], ["astronaut", "carphone"]],
    "fetch": {},
    "device": "cpu",
    "decode": {"max_frames": 6},
    "drive": {"frames": 9, "driver": "carphone"},
    "model": {"preset": "small"},
    "meta": {
        "clips": ["pexels_woman", "astronaut"],
        "steps": 3,
        "batch_size": 2,
        "perceptual_width": 0.1,
        "identity_frames": 1,
    },
    "finetune": {"sweep": [1, 2], "perceptual_width": 0.1, "max_batch": 2, "checkpoint_every": 1},
    "score": {"identity_frames": 3, "reference_frames": 3},
}


class Project:
    """A copy of the project with a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def configure(self, **sections):
        (self.folder / "config.yaml").write_text(yaml.safe_dump(TOY | sections))

    def snakemake(self, *arguments):
        command = ["snakemake", "--cores", "2", *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def environment(self):
        return os.environ | {"PYTHONPATH": str(self.folder)}

    def planned(self):
        """Names of the rules that a dry run would execute, `all` aside."""
        done = self.snakemake("--dry-run", "--quiet", "reason")
        assert done.returncode == 0, done.stdout
        return set(re.findall(r"^(\w+) +\d+$", done.stdout, re.M)) - {"all", "total"}


@pytest.fixture(scope="module")
def project(tmp_path_factory, demo_media, descriptor_weights):
    """The toy workflow, built."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("reenact", "rules", "workflow_scripts", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "media").mkdir()
    for clip in (*TOY["identities"].values(), *TOY["drivers"].values()):
        shutil.copy(demo_media(Path(clip["media"]).name), folder / "media")
    (folder / "resources" / "weights").mkdir(parents=True)
    shutil.copy(descriptor_weights, folder / "resources" / "weights")
    made = Project(folder)
    made.configure()
    done = made.snakemake()
    assert done.returncode == 0, done.stdout[-4000:]
    return made


@pytest.fixture
def edited(project):
    """Edit a file of the project for one test: edited(file, old, new)."""
    kept = {}

    def edit(file, old, new):
        path = project.folder / file
        kept.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    yield edit
    for path, text in kept.items():
        path.write_text(text)


@pytest.fixture
def configured(project):
    """Change sections of the configuration for one test."""
    yield project.configure
    project.configure()


def test_everything_promised_is_there(project):
    results = project.folder / "results"
    for identity in TOY["identities"]:
        avatar = results / "avatars" / identity
        assert all(
            (avatar / name).stat().st_size for name in ("model.safetensors", "sweep.csv", "sweep.png", "selected.json")
        )
        assert set(pd.read_csv(avatar / "sweep.csv").iteration) == {0, 1, 2}
    assert (results / "meta" / "meta" / "model.safetensors").exists()
    page = (results / "report" / "index.html").read_text()
    assert page.count("data:video/mp4") >= 2 and "http://" not in page.replace("http://www.w3.org", "")
    for stage in STAGES - {"fetch"}:
        assert list((project.folder / "logs" / stage).rglob("*.log")), stage
        assert list((results / "benchmarks" / stage).rglob("*.tsv")), stage
    assert [
        p
        for p in results.rglob(".*")
        if p.is_file() and p.suffix != ".snakemake_timestamp" and "snakemake" not in p.name
    ] == []


@pytest.mark.parametrize(
    ("identity", "driver", "sound"), [("pexels_woman", "single_face", True), ("astronaut", "carphone", False)]
)
def test_videos_have_the_drivers_frames_times_and_sound(project, identity, driver, sound):
    frames = pd.read_csv(project.folder / "results" / "clips" / driver / "frames.csv")
    for kind in ("", ".side_by_side"):
        with av.open(str(project.folder / "results" / "renders" / identity / f"{driver}{kind}.mp4")) as video:
            assert bool(video.streams.audio) == sound
            times = [float(frame.time) for frame in video.decode(video=0)]
        assert times == pytest.approx(frames.time.tolist(), abs=1e-3)


def test_built_means_nothing_to_do(project):
    assert project.planned() == set()


def test_a_touched_file_is_not_a_changed_file(project):
    (project.folder / "workflow_scripts" / "crop.py").touch()
    (project.folder / "media" / "astronaut.png").touch()
    assert project.planned() == set()


def test_sweep_changes_finetune_and_what_follows(project, configured):
    configured(finetune=TOY["finetune"] | {"sweep": [1, 3]})
    assert project.planned() == {"finetune", "drive", "score", "select", "mark_model", "render", "mark", "report"}


def test_choosing_by_hand_trains_nothing(project, configured):
    configured(finetune=TOY["finetune"] | {"choose": 2})
    assert project.planned() == {"select", "mark_model", "render", "mark", "report"}


def test_replaced_driver_changes_its_own_chain(project, demo_media):
    media = project.folder / "media" / "single_face.mp4"
    shutil.copy(demo_media("face_noface.mov"), media)
    try:
        done = project.snakemake("--dry-run", "results/renders/astronaut/carphone.mp4", "--quiet", "reason")
        assert "Nothing to be done" in done.stdout
        assert project.planned() == {"decode", "crop", "segment", "render", "mark", "report"}
    finally:
        shutil.copy(demo_media("single_face.mp4"), media)


def test_edited_crop_code_runs_crop_and_what_follows(project, edited):
    edited("reenact/faces/tracking.py", "SAME_PERSON = 0.9", "SAME_PERSON = 0.91")
    assert project.planned() == STAGES - {"fetch", "decode"} | {"mark_model"}


def test_edited_comment_runs_nothing(project, edited):
    edited("reenact/stages/crop.py", "\ndef ", "\n# Only a comment.\ndef ")
    edited("reenact/settings/base.py", '"""', '"""Other words. ')
    assert project.planned() == set()


def test_bad_settings_stop_before_any_job_with_one_message(project, configured):
    configured(crop={"scael": 2}, pairs=[["pexels_woman", "carfone"]], finetune={"sweep": [2, 1]})
    done = project.snakemake()
    assert done.returncode == 1 and "Traceback" not in done.stdout
    for part in (
        "3 problems",
        "did you mean 'scale'?",
        "did you mean 'carphone'?",
        "finetune.sweep: [2, 1] must increase",
    ):
        assert part in done.stdout


def test_a_bad_person_and_a_bad_driver_keep_nobody_else_from_being_built(project, configured, demo_media):
    shutil.copy(demo_media("no_face.mp4"), project.folder / "media")
    nobody = {"media": "media/no_face.mp4"}
    configured(
        identities=TOY["identities"] | {"nobody": nobody},
        drivers=TOY["drivers"] | {"ghost": nobody},
        pairs=[["astronaut", "ghost"], ["astronaut", "single_face"], ["nobody", "carphone"]],
    )
    done = project.snakemake()
    assert done.returncode == 1 and "Traceback" not in done.stdout
    log = (project.folder / "logs" / "crop" / "ghost.log").read_text()
    assert re.search(r"error: media/no_face\.mp4: .*frames 0 to 94", log) and "Traceback" not in log
    renders = project.folder / "results" / "renders"
    assert (renders / "astronaut" / "single_face.mp4").exists()
    assert not (renders / "astronaut" / "ghost.mp4").exists() and not (renders / "nobody").exists()
    table = done.stdout.partition("Not everything was built.")[2]
    for row in (
        r"avatar nobody +crop/nobody +media/no_face\.mp4: ",
        r"video astronaut/ghost +crop/ghost +media/no_face",
    ):
        assert re.search(rf"^{row}", table, re.M), table
    assert "avatar astronaut" not in table and "The report of what is there: results/report/partial.html" in table
    page = (project.folder / "results" / "report" / "partial.html").read_text()
    assert page.count("data:video/mp4") == 1 and "pexels_woman" in page
    configured(pairs=[["astronaut", "single_face"]])
    assert project.snakemake().returncode == 0
    assert not (project.folder / "results" / "report" / "partial.html").exists()


def test_killed_training_goes_on_and_ends_the_same(project, configured, edited):
    target = "results/meta/{}/model.safetensors"
    settings = TOY["meta"] | {"steps": 12, "checkpoint_every": 1, "seed": 5}
    configured(meta=settings | {"name": "whole"})
    assert project.snakemake(target.format("whole")).returncode == 0
    configured(meta=settings | {"name": "killed"})
    command = ["snakemake", "--cores", "2", target.format("killed")]
    run = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = "results/runs/meta/killed-*/checkpoint_00000004.pt"
    deadline = time.monotonic() + 120
    while not list(project.folder.glob(checkpoint)) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (project.folder / target.format("killed")).exists()
    # What only shows how far it is may be edited meanwhile.
    edited("reenact/monitoring/train_logger.py", 'TENSORBOARD = "tensorboard"', 'TENSORBOARD = "curves"')
    edited("reenact/settings/training.py", 'description="Momentum', 'description="The momentum')
    done = project.snakemake(target.format("killed"))
    assert done.returncode == 0, done.stdout[-2000:]
    log = (project.folder / "logs" / "meta" / "killed.log").read_text()
    assert int(re.search(r"resuming from step (\d+) \(", log)[1]) >= 3
    whole, killed = (load(project.folder / target.format(name)) for name in ("whole", "killed"))
    assert whole.keys() == killed.keys() and all((whole[key] == killed[key]).all() for key in whole)


def test_a_set_in_shards_trains_a_meta_model_and_may_grow(project, configured):
    rows = [
        "clip,identity,path,end,split",
        "a,woman,media/WolfgangLanger_Pexels.mp4,0.5,train",
        "b,man,media/single_face.mp4,0.4,val",
    ]
    (project.folder / "set.csv").write_text("\n".join([*rows, ""]))
    settings = TOY["meta"] | {"name": "sharded", "clips": [], "set": "set.csv", "shards": 2, "validate_frames": 1}
    configured(meta=settings, shard={"frames": 4}, crop={"size": 64})
    target = "results/meta/sharded/model.safetensors"
    done = project.snakemake(target)
    assert done.returncode == 0, done.stdout[-4000:]
    assert pd.read_csv(project.folder / "results" / "dataset" / "clips.csv")["split"].tolist() == [
        "train",
        "validation",
    ]
    assert "Nothing to be done" in project.snakemake(target, "--dry-run").stdout
    (project.folder / "set.csv").write_text("\n".join([*rows, "c,carphone,media/carphone_pristine.mp4,0.4,train", ""]))
    done = project.snakemake("results/shards/00000-of-00002.tar", "results/shards/00001-of-00002.tar")
    assert done.returncode == 0, done.stdout[-4000:]
    logs = "".join(path.read_text() for path in sorted((project.folder / "logs" / "shard").glob("*.log")))
    # Both clips of before stay as they are; no shard begins from nothing but that of the new one.
    assert sum(int(found) for found in re.findall(r"clips, (\d+) of them finished", logs)) == 2


def load(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_lint_is_clean():
    done = subprocess.run(["snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
