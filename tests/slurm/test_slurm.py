"""The workflow on a real SLURM (tests/slurm/run): five runs of Snakemake at once, and what a user sees of them."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import av
import pandas as pd
import pytest
import yaml
from people import write_person
from tree import ROOT
from warping_models import write_seeing_model

from reenact.models.model_file import load_model

SNAKEMAKE = os.environ.get("REENACT_DRIVER", "snakemake")
REENACT = [str(Path(os.environ.get("REENACT_DRIVER", sys.executable)).with_name("python")), "-m", "reenact"]
ON_GPU = {"meta", "finetune", "drive", "render"}
# What a lab edits, and less of everything.
EDITS = {
    "runtime: 24 * 60": "runtime: 10",
    "mem_mb: 16000 * attempt": "mem_mb: 3000 * attempt",
    "meta: 8": "meta: 1",
    "finetune: 4": "finetune: 1",
    "crop: 4": "crop: 1",
    "segment: 4": "segment: 1",
    "retries: 2": "retries: 1",
    "latency-wait: 60": "latency-wait: 5",
    "slurm-init-seconds-before-status-checks: 20": "slurm-init-seconds-before-status-checks: 3",
}
DEMO = {
    "identities": {"pexels_woman": {"media": "media/WolfgangLanger_Pexels.mp4", "end": 1, "holdout": 0.4}},
    "drivers": {"single_face": {"media": "media/single_face.mp4", "end": 0.4}},
    "decode": {"max_frames": 6},
    "drive": {"frames": 9},
    "model": {"preset": "small"},
    "meta": {"steps": 2, "batch_size": 2, "perceptual_width": 0.1, "identity_frames": 1},
    "finetune": {"sweep": [1], "perceptual_width": 0.1, "max_batch": 2},
    "score": {"identity_frames": 2, "reference_frames": 2},
}
STEPS = 9
# Stands in for stage decode: its clips are patient (waits to be cancelled), hungry (takes 800 MB), broken, or well.
DECODE = """
import sys, time
from pathlib import Path
frames, source = (Path(sys.argv[sys.argv.index(flag) + 1]) for flag in ("--frames", "--source"))
clip = frames.parent.name
tried = frames.parent / "tried"
if clip == "patient" and not tried.exists():
    tried.touch()
    time.sleep(120)
if clip == "hungry":
    taken = b"x" * 800_000_000
    time.sleep(6)
if clip == "broken":
    sys.exit("error: media/clip.mp4: no video")
frames.write_text(clip)
source.write_text(clip)
"""


class Run:
    """A project of its own and a run of Snakemake in it."""

    def __init__(self, folder: Path, config: dict, **edits: str) -> None:
        self.folder, self.printed = folder, folder / "printed.txt"
        for name in ("reenact", "rules", "workflow_scripts", "envs", "profiles"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", folder)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.edit("profiles/slurm/config.yaml", **EDITS, **edits)

    def edit(self, file: str, **edits: str) -> None:
        path = self.folder / file
        for old, new in edits.items():
            assert old in path.read_text(), old
            path.write_text(path.read_text().replace(old, new))

    def start(self, *arguments: str, program: Sequence[str] = (SNAKEMAKE,)) -> None:
        command = [*program, "--profile", "profiles/slurm", *arguments]
        environment = os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        with self.printed.open("w") as printed:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=printed, stderr=subprocess.STDOUT
            )

    def log(self, name: str) -> str:
        path = self.folder / "logs" / name
        return path.read_text() if path.exists() else ""

    def starts(self, name: str) -> list[tuple[str, str]]:
        """SLURM's job and the GPUs of every start in a stage's log."""
        return re.findall(r"starts on \S+, SLURM job (\d+) of run \S+, start \d+, GPUs: (.*)", self.log(name))


def fact(job: str, name: str) -> str:
    """What SLURM itself says about a job."""
    command = ["scontrol", "--oneliner", "show", "job", job]
    answer = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    found = re.search(rf"\b{name}=(\S*)", answer)
    return found[1] if found else ""


def wait_until(true, seconds=120):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert true()


@pytest.fixture(scope="session")
def runs(tmp_path_factory, demo_media, descriptor_weights):
    """Five runs, to their ends: the demo; a training on two nodes; one that is short of time; one of a model that moves
    photos; jobs that go wrong."""
    demo = Run(tmp_path_factory.mktemp("demo"), DEMO)
    (demo.folder / "media").mkdir()
    for clip in ("WolfgangLanger_Pexels.mp4", "single_face.mp4"):
        shutil.copy(demo_media(clip), demo.folder / "media")
    shutil.copytree(descriptor_weights.parent, demo.folder / "resources" / "weights")

    people = {"red": {"media": "clip.mp4"}, "green": {"media": "clip.mp4"}}
    meta = {"batch_size": 2, "perceptual_width": 0.1, "identity_frames": 1, "checkpoint_every": 1000}
    rest = {
        "drivers": {"speech": {"media": "clip.mp4"}},
        "model": {"preset": "small"},
        "score": {"descriptor_weights": "clip.mp4"},
    }
    spread = Run(
        tmp_path_factory.mktemp("spread"),
        {"identities": people, "meta": meta | {"steps": 2, "processes": 2, "nodes": 2}, **rest},
    )
    short = Run(
        tmp_path_factory.mktemp("short"),
        {"identities": people, "meta": meta | {"steps": STEPS}, **rest},
        **{"URG@300": "URG@61", "runtime: 10": "runtime: 2"},
    )
    photos = Run(
        tmp_path_factory.mktemp("photos"),
        rest
        | {
            "identities": people,
            "model": {"preset": "warping"},
            "meta": {"preset": "warping", "start": "start.safetensors", "steps": 2, "batch_size": 2, "rise": 0},
            "finetune": {"preset": "warping", "sweep": [1], "max_batch": 2},
        },
    )
    write_seeing_model(photos.folder)
    for person in people:
        write_person(photos.folder / "results" / "clips", person, 10)
        write_person(spread.folder / "results" / "clips", person, 6)
        write_person(short.folder / "results" / "clips", person, 6)
    # SLURM, which looks every 30 s, warns 30 to 60 s after the start; with 9 s a step no machine is done by then.
    short.edit(
        "reenact/training/loop.py",
        **{"            batch = batches(step)\n": "            batch = batches(step)\n            time.sleep(9)\n"},
    )

    clips = {name: {"media": "clip.mp4"} for name in ("patient", "hungry", "broken", "well")}
    trouble = Run(
        tmp_path_factory.mktemp("trouble"),
        {"identities": clips, **rest},
        **{"decode: {mem_mb: 1500 * attempt}": "decode: {mem_mb: 600 * attempt}"},
    )
    (trouble.folder / "workflow_scripts" / "decode.py").write_text(DECODE)
    for run in (spread, short, photos, trouble):
        (run.folder / "clip.mp4").write_text("not looked at")

    started = [demo, spread, short, photos, trouble]
    spread.start("--allowed-rules", "meta", "--", "results/meta/meta/model.safetensors")
    wait_until(lambda: "has been submitted" in spread.printed.read_text())  # else it waits for both GPUs
    short.start("--allowed-rules", "meta", "--", "results/meta/meta/model.safetensors")
    photos.start("--allowed-rules", "meta", "finetune", "--", "results/avatars/red/sweep")
    demo.start(program=[*REENACT, "build"])
    trouble.start(*(f"results/clips/{clip}/frames.csv" for clip in clips))
    try:
        wait_until(lambda: trouble.starts("decode/patient.log"))
        subprocess.run(["scancel", trouble.starts("decode/patient.log")[0][0]], check=True)
        for run in started:
            run.process.wait(600)
    finally:
        for run in started:
            run.process.kill()
    return {"demo": demo, "spread": spread, "short": short, "photos": photos, "trouble": trouble}


def test_the_demo_is_built_and_every_job_ran_under_slurm(runs):
    demo = runs["demo"]
    assert demo.process.returncode == 0, demo.printed.read_text()[-4000:]
    frames = pd.read_csv(demo.folder / "results" / "clips" / "single_face" / "frames.csv")
    with av.open(str(demo.folder / "results" / "renders" / "pexels_woman" / "single_face.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == len(frames)
    logs = [
        path.relative_to(demo.folder / "logs")
        for path in (demo.folder / "logs").rglob("*.log")
        if path.name[0] != "." and not {"slurm", "build"} & set(path.parts)
    ]
    assert {path.parts[0] for path in logs} == {
        "decode",
        "crop",
        "segment",
        "meta",
        "finetune",
        "drive",
        "score",
        "select",
        "render",
        "mark",
        "report",
    }
    for path in logs:
        ((job, gpus),) = demo.starts(str(path))
        assert fact(job, "JobState") == "COMPLETED"
        assert (gpus in ("0", "1")) == (path.parts[0] in ON_GPU), (path, gpus)
        assert fact(job, "Partition") == ("gpu" if path.parts[0] in ON_GPU else "cpu")
        assert ("gpu:1" in fact(job, "TresPerJob")) == (path.parts[0] in ON_GPU)


def test_short_stages_share_a_job(runs):
    jobs = {
        stage: runs["demo"].starts(f"{stage}/pexels_woman.log")[0][0]
        for stage in ("decode", "crop", "segment", "drive", "score", "select")
    }
    assert jobs["decode"] == jobs["crop"] == jobs["segment"]
    assert jobs["score"] == jobs["select"] != jobs["drive"]


def test_slurms_own_logs_are_where_the_docs_say(runs):
    demo = runs["demo"]
    for pattern in (
        "rule_meta/{meta}.log",
        "rule_drive/pexels_woman/{drive}.log",
        "group_clip_crop_decode_segment/{crop}.log",
        "group_choice_score_select/{score}.log",
    ):
        jobs = {
            stage: demo.starts(f"{stage}/{'meta' if stage == 'meta' else 'pexels_woman'}.log")[0][0]
            for stage in ("meta", "drive", "crop", "score")
        }
        assert (demo.folder / "logs" / "slurm" / pattern.format(**jobs)).stat().st_size, pattern


def test_results_hold_no_locks_or_databases(runs):
    files = [
        path for path in (runs["demo"].folder / "results").rglob("*") if path.is_file() and "runs" not in path.parts
    ]
    assert not [path for path in files if re.search(r"lock|sqlite|\.db", path.name)]


def test_two_nodes_train_together(runs):
    spread = runs["spread"]
    assert spread.process.returncode == 0, spread.printed.read_text()[-4000:]
    whole, *nodes = spread.starts("meta/meta.log")
    assert whole[1] == "1 on each of 2 nodes" and nodes == [(whole[0], "0")] * 2
    assert fact(whole[0], "NodeList") == "reenact[1-2]" and fact(whole[0], "TresPerJob") == "gres:gpu:2"
    assert json.loads((spread.folder / "results" / "meta" / "meta" / "metrics.json").read_text()), (
        "written once, by the first of the processes"
    )


def test_a_model_that_moves_photos_is_trained_and_fine_tuned(runs):
    photos = runs["photos"]
    assert photos.process.returncode == 0, photos.printed.read_text()[-4000:]
    for stage in ("meta/meta", "finetune/red"):
        ((job, gpus),) = photos.starts(f"{stage}.log")
        assert fact(job, "JobState") == "COMPLETED" and gpus in ("0", "1")
    sweep = photos.folder / "results" / "avatars" / "red" / "sweep"
    assert sorted(path.name for path in sweep.glob("*.safetensors")) == ["000000.safetensors", "000001.safetensors"]
    assert load_model(sweep / "000001.safetensors").reenactor.personal


def test_a_training_that_is_out_of_time_finishes_over_several_starts(runs):
    short = runs["short"]
    printed, log = short.printed.read_text(), short.log("meta/meta.log")
    assert short.process.returncode == 0, printed[-4000:]
    starts = short.starts("meta/meta.log")
    assert len(starts) >= 2 and len(set(starts)) == 1, "one job, started several times"
    assert fact(starts[0][0], "Restarts") == str(len(starts) - 1)
    assert log.count("saved its state; the job goes back into the queue, and on from there") == len(starts) - 1
    saved, resumed = (
        [int(step) for step in re.findall(pattern, log)]
        for pattern in (rf"SIGURG: saved step (\d+) of {STEPS}", r"resuming from step (\d+) \(")
    )
    # A warning may also come when all steps are made and the model is being written.
    assert (
        saved == [step for step in resumed if step < STEPS]
        and resumed == sorted(set(resumed))
        and len(resumed) == len(starts) - 1
    )
    assert "meta: finished, after" in log.splitlines()[-1]
    # For Snakemake nothing has happened.
    assert printed.count("has been submitted") == 1 and "Error" not in printed and "restart" not in printed


def test_a_cancelled_job_says_so_and_is_tried_again(runs):
    trouble = runs["trouble"]
    (first, _), (second, _) = trouble.starts("decode/patient.log")
    assert fact(first, "JobState") == "CANCELLED" and fact(second, "JobState") == "COMPLETED"
    line = "decode: was stopped by SIGTERM: the job was cancelled (scancel, or Snakemake was stopped), after"
    assert line in trouble.log("decode/patient.log") and line in trouble.printed.read_text()


def test_a_job_that_fails_twice_stops_the_run_but_not_the_others(runs):
    trouble = runs["trouble"]
    printed = trouble.printed.read_text()
    jobs = [job for job, _ in trouble.starts("decode/broken.log")]
    assert len(jobs) == 2 and [fact(job, "JobState") for job in jobs] == ["FAILED", "FAILED"]
    for line in ("error: media/clip.mp4: no video", "decode: failed with status 1, after"):
        assert trouble.log("decode/broken.log").count(line) == 2 and line in printed
    assert trouble.process.returncode == 1 and "Exiting because a job execution failed" in printed
    assert sorted(path.parent.name for path in trouble.folder.glob("results/clips/*/frames.csv")) == [
        "hungry",
        "patient",
        "well",
    ]


def test_a_job_that_took_too_much_memory_gets_more_and_the_log_says_why(runs):
    trouble = runs["trouble"]
    first, second = [job for job, _ in trouble.starts("decode/hungry.log")]
    assert fact(second, "JobState") == "COMPLETED" and fact(second, "MinMemoryNode") == "1200M"
    why = (
        rf"the start before, of SLURM job {first}, ended without a word; "
        r"SLURM: \w+: .*exceeded memory limit \(\d+ > \d+\), being killed"
    )
    assert re.search(why, trouble.log("decode/hungry.log"))
    assert "exceeded memory limit" in trouble.printed.read_text()
