"""Stage meta is killed, told to stop, and goes on: as a process of its own, alone and with others."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from people import write_person
from tree import ROOT

from reenact.models.model_file import load_model
from reenact.runtime.errors import CONTINUE_STATUS
from reenact.training.checkpoint import RunFolder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return [write_person(folder, name, 6) for name in ("red", "green")]


def command(clips, folder, steps, **settings):
    """The stage's command line. One thread: sums of several are rounded according to how many there are."""
    crops, mattes = zip(*clips, strict=True)
    flags = {
        "steps": steps,
        "checkpoint-every": 1,
        "perceptual-width": 0.1,
        "batch-size": 2,
        "identity-frames": 1,
        "model.preset": "small",
        **settings,
    }
    files = {
        "model": "model.safetensors",
        "curves": "curves.csv",
        "metrics": "metrics.json",
        "preview": "preview.png",
        "runs": "runs",
    }
    arguments = [
        "--crops",
        *crops,
        "--mattes",
        *mattes,
        "--device",
        "cpu",
        "--threads",
        flags.get("processes", 1),
        *(part for name, value in flags.items() for part in (f"--{name}", value)),
        *(part for name, file in files.items() for part in (f"--{name}", folder / file)),
    ]
    return [sys.executable, "-m", "workflow_scripts.meta", *map(str, arguments)]


@pytest.fixture
def start(clips):
    """Begin a long run in a process of its own, which ends with the test."""
    begun = []

    def begin(folder, **settings):
        running = subprocess.Popen(
            command(clips, folder, 10_000, **settings), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        begun.append(running)
        return running

    yield begin
    for running in begun:
        if running.poll() is None:
            for process in [*psutil.Process(running.pid).children(recursive=True), running]:
                process.kill()


def finish(clips, folder, steps):
    """Make the rest of the steps, in a process as `start`'s: in pytest's own, earlier tests decide about threads."""
    subprocess.run(command(clips, folder, steps), cwd=ROOT, check=True)
    return load_model(folder / "model.safetensors")[0].state_dict()


def last_step(folder):
    steps = [int(path.stem.split("_")[1]) for path in folder.glob("runs/*/checkpoint_*.pt")]
    return max(steps, default=0)


def wait_for_step(running, folder, step):
    deadline = time.monotonic() + 240
    while last_step(folder) < step:
        assert running.poll() is None, running.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_was_killed_and_told_to_stop_equals_one_that_was_not(clips, start, tmp_path):
    running = start(tmp_path / "cut")
    wait_for_step(running, tmp_path / "cut", 2)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    killed_at = last_step(tmp_path / "cut")
    running = start(tmp_path / "cut")
    wait_for_step(running, tmp_path / "cut", killed_at + 1)
    running.send_signal(signal.SIGTERM)
    _, printed = running.communicate(timeout=240)
    assert running.returncode == CONTINUE_STATUS, printed
    stopped_at = last_step(tmp_path / "cut")
    assert f"SIGTERM: saved step {stopped_at} of 10000; the same command goes on from there" in printed
    cut, whole = (finish(clips, tmp_path / name, stopped_at + 1) for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_processes_stop_together_when_their_job_is_warned(start, tmp_path):
    """As SLURM does it: SIGURG to everything in the job, which only the training listens to."""
    running = start(tmp_path, processes=2)
    wait_for_step(running, tmp_path, 2)
    for process in [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]:
        process.send_signal(signal.SIGURG)
    _, printed = running.communicate(timeout=240)
    assert running.returncode == CONTINUE_STATUS, printed
    (run,) = (tmp_path / "runs").iterdir()
    assert RunFolder(run).latest()[0] == last_step(tmp_path) >= 2
    assert [row["step"] for row in RunFolder(run).stats()] == list(range(1, last_step(tmp_path) + 1)), (
        "one process writes"
    )
