"""Jobs on one machine get different GPUs, and no more than they asked for."""

import multiprocessing
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
import yaml
from tree import ROOT

from reenact.cluster.devices import chosen_devices, lease_folder, leased, visible_devices
from reenact.runtime.errors import UserError

# Stands in for stage drive: says which GPUs it sees, from when to when.
DRIVE = """
import os, sys, time
target = sys.argv[sys.argv.index("--driven") + 1]
started = time.monotonic()
time.sleep(1.5)
with open(target, "w") as file:
    print(os.environ["CUDA_VISIBLE_DEVICES"], started, time.monotonic(), file=file)
"""


@pytest.mark.parametrize(
    ("variable", "names"),
    [("0,1", ["0", "1"]), ("", []), ("-1", []), (" GPU-8a7 , MIG-3/1/0", ["GPU-8a7", "MIG-3/1/0"])],
)
def test_the_variable_says_which_devices_are_visible(variable, names):
    assert visible_devices({"CUDA_VISIBLE_DEVICES": variable}) == names


def test_without_the_variable_the_driver_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert visible_devices({}, listed=tmp_path / "nothing") == []
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    assert visible_devices({}, listed=tmp_path / "gpus") == ["0"]
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        "echo 'GPU 0: NVIDIA A (UUID: GPU-1)'\n"
        "echo '  MIG 1g.5gb Device 0: (UUID: MIG-1)'\n"
        "echo 'GPU 1: NVIDIA A (UUID: GPU-2)'\n"
    )
    tool.chmod(0o755)
    assert visible_devices({}, listed=tmp_path / "gpus") == ["0", "1"]


def test_the_setting_chooses_among_the_visible():
    assert chosen_devices("auto", ["4", "7"]) == chosen_devices("cuda", ["4", "7"]) == ["4", "7"]
    assert chosen_devices("cuda:1", ["4", "7"]) == ["7"]
    assert chosen_devices("cpu", ["4", "7"]) == []
    with pytest.raises(UserError, match=r"device: 'cuda:2' is not there; GPUs on this machine: 2 \(4, 7\)"):
        chosen_devices("cuda:2", ["4", "7"])


def test_leases_do_not_overlap(tmp_path):
    with leased(1, ["0", "MIG-3/1/0"], tmp_path) as (first, _), leased(1, ["0", "MIG-3/1/0"], tmp_path) as (second, _):
        assert [first, second] == [["0"], ["MIG-3/1/0"]]
        with (
            pytest.raises(UserError, match="no 1 of the GPUs 0, MIG-3/1/0 got free within 0 s"),
            leased(1, ["0", "MIG-3/1/0"], tmp_path, patience=0),
        ):
            pass
    with leased(2, ["0", "MIG-3/1/0"], tmp_path, patience=0) as (both, _):
        assert len(both) == 2
    with pytest.raises(UserError, match="asks for 3 GPUs, and this machine has 2"), leased(3, ["0", "1"], tmp_path):
        pass


def hold(folder, ready):
    with leased(1, ["0"], folder):
        ready.set()
        time.sleep(60)


def test_a_killed_job_gives_its_device_back(tmp_path):
    ready = multiprocessing.get_context("spawn").Event()
    job = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, ready))
    job.start()
    assert ready.wait(30)
    with pytest.raises(UserError), leased(1, ["0"], tmp_path, patience=0):
        pass
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    with leased(1, ["0"], tmp_path, patience=0) as (names, _):
        assert names == ["0"]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The machine's temporary folder, for one test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_of_leases_is_private_and_a_persons_own(temporary, monkeypatch):
    ours = lease_folder({}).parent
    assert ours.parent == temporary and stat.S_IMODE(ours.stat().st_mode) == 0o700
    ours.chmod(0o777)
    assert lease_folder({}).parent.stat().st_mode & 0o077 == 0
    monkeypatch.setattr("os.getuid", lambda: ours.stat().st_uid + 1)
    theirs = temporary / f"reenact-gpus-{os.getuid()}"
    theirs.mkdir()
    with pytest.raises(UserError, match=f"{theirs}: must be a folder of user {os.getuid()}"):
        lease_folder({})


def test_links_are_not_followed_to_where_leases_might_write(temporary):
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (temporary / f"reenact-gpus-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(UserError, match="must be a folder of user"):
        lease_folder({})
    precious = temporary / "precious"
    precious.write_text("kept")
    (elsewhere / "0.lock").symlink_to(precious)
    with (
        pytest.raises(UserError, match=r"0\.lock: cannot be opened as the lease of a GPU"),
        leased(1, ["0"], elsewhere),
    ):
        pass
    assert precious.read_text() == "kept"


def test_jobs_of_slurm_have_leases_of_their_own(temporary):
    assert lease_folder({}) != lease_folder({"SLURM_JOB_ID": "7"}) != lease_folder({"SLURM_JOB_ID": "8"})


@pytest.fixture
def project(tmp_path):
    """The workflow with four people whose sweeps are there and wait to be driven."""
    for name in ("reenact", "rules", "workflow_scripts", "envs", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "workflow_scripts" / "drive.py").write_text(DRIVE)
    people = ["anna", "ben", "cleo", "dan"]
    for name in ["clip.mp4", "weights.dat", *(f"results/clips/{clip}/crops.zip" for clip in [*people, "speech"])]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for person in people:
        (tmp_path / "results" / "avatars" / person / "sweep").mkdir(parents=True)
    config = {
        "identities": {person: {"media": "clip.mp4"} for person in people},
        "drivers": {"speech": {"media": "clip.mp4"}},
        "score": {"descriptor_weights": "weights.dat"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def drive_everybody(project, visible, temporary):
    targets = [f"results/avatars/{person}/driven.zip" for person in ("anna", "ben", "cleo", "dan")]
    environment = os.environ | {"PYTHONPATH": str(project), "CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "snakemake", "--cores", "8", "--allowed-rules", "drive", "--", *targets]
    done = subprocess.run(
        command, cwd=project, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    rows = [(project / target).read_text().split() for target in targets]
    return [(device, float(start), float(end)) for device, start, end in rows], done.stdout


def test_four_driving_jobs_share_two_devices_and_none_at_the_same_time(project, tmp_path_factory):
    jobs, printed = drive_everybody(project, "0,1", tmp_path_factory.mktemp("leases"))
    assert sorted(device for device, _, _ in jobs) == ["0", "0", "1", "1"]
    for device in ("0", "1"):
        (_, end), (start, _) = sorted((start, end) for name, start, end in jobs if name == device)
        assert end <= start
    starts = sorted(start for _, start, _ in jobs)
    assert starts[1] < min(end for _, _, end in jobs), "two jobs run at the same time"
    assert re.search(r"Provided resources: .*gpu", printed)


def test_a_machine_without_gpu_drives_on_the_cpu(project, tmp_path_factory):
    (project / "workflow_scripts" / "drive.py").write_text(DRIVE.replace('os.environ["CUDA_VISIBLE_DEVICES"]', '"cpu"'))
    jobs, printed = drive_everybody(project, "", tmp_path_factory.mktemp("leases"))
    third = sorted(start for _, start, _ in jobs)[2]
    assert third < min(end for _, _, end in jobs), "more than two run at the same time"
    assert "gpu=Resource" not in printed
