"""Starting a stage: what it sees, what its log says, what its end leads to; alone, with workers, on two nodes."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from reenact.cluster.job_log import open_log
from reenact.cluster.launch import Request, launch
from reenact.cluster.slurm import SlurmJob, first_host, rendezvous, why_stopped
from reenact.cluster.supervise import children, send_signal
from reenact.runtime.errors import CONTINUE_STATUS, UserError

LAUNCH = """
import sys
from pathlib import Path
from reenact.cluster.launch import Request, launch
raise SystemExit(launch(Request(["-m", "stage"], gpus={gpus}, nodes={nodes}, processes={processes}), Path(sys.argv[1])))
"""
# As a stage that trains: ready, then it saves and leaves when it is asked to stop.
STAGE = """
import os, signal, sys, time
from pathlib import Path
requests = []
for number in (signal.SIGTERM, signal.SIGURG):
    signal.signal(number, lambda number, frame: requests.append(number))
rank = os.environ.get("RANK", "0")
# A line is one write, so that those of two workers do not mix.
print(f"begin {os.environ['CUDA_VISIBLE_DEVICES']}\\n", end="", flush=True)
Path(f"ready{rank}").touch()
for _ in range(600):
    if requests:
        print("saved\\n", end="", flush=True)
        sys.exit(75)
    if Path("enough").exists():
        sys.exit(0)
    time.sleep(0.05)
"""
PROBE = """
import json, os
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([2 ** dist.get_rank()])
dist.all_reduce(total)
facts = {name: int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")}
print(json.dumps(facts | {"sum": total.item(), "port": int(os.environ["MASTER_PORT"])}), flush=True)
dist.barrier()
dist.destroy_process_group()
"""
# As stage meta with meta.processes: 2.
SHARED = """
import sys
from reenact.runtime.cli import run
from reenact.runtime.torchrun import launch
def main():
    if not launch(2):
        import worker
run(main)
"""
SCONTROL = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in
requeue) kill -TERM $PPID ;;
*) echo "JobId=7 JobName=run-1 JobState=$(cat {folder}/state) Restarts=0 StdOut={folder}/slurm.log" ;;
esac
"""


def environment(folder, **more):
    path = f"{folder}:{os.environ['PATH']}"
    return (
        os.environ
        | {
            "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
            "PATH": path,
            "TMPDIR": str(folder),
            "CUDA_VISIBLE_DEVICES": "4,5,6",
        }
        | more
    )


def start(folder, *, gpus=1, nodes=1, processes=1, code=STAGE, log="stage.log", **more):
    """A launcher in a process of its own, in the test's folder."""
    (folder / "stage.py").write_text(code)
    command = [sys.executable, "-c", LAUNCH.format(gpus=gpus, nodes=nodes, processes=processes), log]
    return subprocess.Popen(command, cwd=folder, env=environment(folder, **more), start_new_session=True)


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists(), path


@pytest.fixture
def in_job(tmp_path):
    """Variables of a job of SLURM's; its scontrol reads the file `state` and keeps what it is asked."""
    (tmp_path / "scontrol").write_text(SCONTROL.format(folder=tmp_path))
    (tmp_path / "scontrol").chmod(0o755)
    (tmp_path / "state").write_text("RUNNING Reason=None")
    return {"SLURM_JOB_ID": "7", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (1, "4"), (2, "4,5")])
def test_a_stage_sees_the_devices_that_it_asked_for(tmp_path, gpus, seen):
    (tmp_path / "enough").touch()
    assert start(tmp_path, gpus=gpus).wait(60) == 0
    first, second, last = (tmp_path / "stage.log").read_text().splitlines()
    assert re.fullmatch(rf"launch: .* stage: starts on \S+, GPUs: {seen.replace(',', ', ') or 'none'}", first)
    assert second == f"begin {seen}".rstrip() or second == "begin "
    assert re.search(r"stage: finished, after \d+ s$", last)


def test_a_stage_takes_memory_as_training_does(tmp_path):
    (tmp_path / "enough").touch()
    code = STAGE.replace("CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES")
    assert start(tmp_path, code=code).wait(60) == 0
    assert "begin glibc.malloc.tcache_count=0:" in (tmp_path / "stage.log").read_text()


def test_too_many_devices_are_refused(tmp_path):
    with pytest.raises(UserError, match="asks for 3 GPUs, and this machine has 2"):
        launch(Request(["-m", "stage"], gpus=3), tmp_path / "log", {"CUDA_VISIBLE_DEVICES": "0,1"})


def test_a_stage_that_saved_is_started_again_here_unless_the_launcher_was_asked_to_stop_too(tmp_path):
    job = start(tmp_path)
    wait_for(tmp_path / "ready0")
    (tmp_path / "ready0").unlink()
    (stage,) = map(int, open(f"/proc/{job.pid}/task/{job.pid}/children").read().split())
    os.kill(stage, signal.SIGTERM)
    wait_for(tmp_path / "ready0")
    job.terminate()
    assert job.wait(60) == CONTINUE_STATUS
    log = (tmp_path / "stage.log").read_text()
    assert log.count("begin") == log.count("saved\n") == 2 and log.count("starts again") == 1
    assert "stage: saved its state and left" in log.splitlines()[-1]


def test_a_warning_is_repeated_to_a_stage_that_did_not_listen_yet(tmp_path, in_job):
    late = "import time\nfrom pathlib import Path\nPath('early').touch()\ntime.sleep(1.5)\n" + STAGE
    job = start(tmp_path, gpus=3, code=late, **in_job)
    wait_for(tmp_path / "early")
    os.killpg(job.pid, signal.SIGURG)
    assert job.wait(60) == -signal.SIGTERM
    assert "saved\n" in (tmp_path / "stage.log").read_text()


def test_workers_that_end_while_they_are_listed_or_warned_do_no_harm():
    restless = """
import threading, time
while True:
    threads = [threading.Thread(target=time.sleep, args=(0.0005,)) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""
    process = subprocess.Popen([sys.executable, "-c", restless])
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert children(process.pid) == []
    finally:
        process.kill()
        process.wait()
    send_signal(signal.SIGURG, [process.pid])
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, signal.SIGURG)


def test_a_stage_that_dies_says_how(tmp_path):
    job = start(tmp_path, code="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert job.wait(60) == 137
    assert (
        "was stopped by SIGKILL, as systems do to a process when memory runs out; give it more `mem_mb`"
        in (tmp_path / "stage.log").read_text()
    )
    assert start(tmp_path, code="raise SystemExit(3)").wait(60) == 3
    assert "failed with status 3" in (tmp_path / "stage.log").read_text()


def test_workers_that_a_stage_started_are_warned_and_their_status_counts(tmp_path):
    (tmp_path / "worker.py").write_text(STAGE)
    job = start(tmp_path, gpus=2, processes=2, code=SHARED)
    for rank in (0, 1):
        wait_for(tmp_path / f"ready{rank}")
    os.kill(job.pid, signal.SIGURG)
    assert job.wait(60) == CONTINUE_STATUS
    log = (tmp_path / "stage.log").read_text()
    assert log.count("begin 4,5") == 2 and "2 processes saved their state" in log


def test_under_slurm_a_warned_stage_goes_back_into_the_queue_and_its_log_goes_on(tmp_path, in_job):
    for number in (1, 2):
        job = start(tmp_path, gpus=3, **in_job)
        wait_for(tmp_path / "ready0")
        (tmp_path / "ready0").unlink()
        os.killpg(job.pid, signal.SIGURG)  # as SLURM does
        assert job.wait(60) == -signal.SIGTERM, "the stand-in ends the job as SLURM would"
        log = (tmp_path / "stage.log").read_text()
        (tmp_path / "stage.log").unlink()  # as Snakemake does before the next start
        assert log.count("begin") == log.count("the job goes back into the queue, and on from there") == number
    assert (tmp_path / "asked").read_text().count("requeue 7") == 2
    (tmp_path / "enough").touch()
    assert start(tmp_path, gpus=3, **in_job).wait(60) == 0
    assert (
        len(
            re.findall(
                r"starts on \S+, SLURM job 7 of run run-1, start 1, GPUs: 4, 5, 6", (tmp_path / "stage.log").read_text()
            )
        )
        == 3
    )


def test_a_stage_that_is_warned_before_it_can_save_anything_is_not_sent_back_for_ever(tmp_path, in_job):
    code = (
        "import sys; print('SIGURG: outside of training, nothing to save; the same command starts again'); sys.exit(75)"
    )
    assert start(tmp_path, gpus=3, code=code, **in_job).wait(60) == -signal.SIGTERM
    assert start(tmp_path, gpus=3, code=code, **in_job).wait(60) == CONTINUE_STATUS
    assert (
        "twice asked to stop before it had anything to save, so this counts as a failure; give it more `runtime`"
        in (tmp_path / "stage.log").read_text()
    )
    assert (tmp_path / "asked").read_text().count("requeue") == 1


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("COMPLETING Reason=None", "the job was cancelled (scancel, or Snakemake was stopped)"),
        ("COMPLETING Reason=TimeLimit", "its time limit was reached; give it more `runtime`"),
        ("COMPLETING Reason=NodeDown", "its node failed"),
    ],
)
def test_under_slurm_a_stopped_stage_says_why_and_stays_out_of_the_queue(tmp_path, in_job, state, why):
    job = start(tmp_path, gpus=3, **in_job)
    wait_for(tmp_path / "ready0")
    (tmp_path / "state").write_text(state)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(60) == CONTINUE_STATUS
    assert f"stage: saved its state and left: {why}, after" in (tmp_path / "stage.log").read_text()
    assert "requeue" not in (tmp_path / "asked").read_text()


def test_a_job_that_comes_back_is_not_a_cancelled_one():
    assert "starts it again" in why_stopped(
        SlurmJob("7", state="RUNNING", restarts=1), SlurmJob("7", state="COMPLETING", restarts=2)
    )
    assert why_stopped(SlurmJob("7", state="RUNNING"), SlurmJob("7", state="RUNNING")) == ""


@pytest.mark.parametrize("printed", ["", "\nhalf a line"])
def test_a_start_that_was_killed_at_once_is_explained_by_the_next(tmp_path, in_job, monkeypatch, printed):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "state").write_text("FAILED Reason=NonZeroExitCode")
    (tmp_path / "slurm.log").write_text(
        "noise\n"
        "slurmstepd-n1: error: StepId=7.0 exceeded memory limit (470765568 > 419430400), being killed\n"
        "slurmstepd-n1: error: *** STEP 7.0 ON n1 CANCELLED ***\n"
    )
    path, job = tmp_path / "logs" / "stage.log", SlurmJob("8", run="run-1")
    with open_log(path, SlurmJob("7", run="run-1")) as log:
        log.write("launch: stage: starts on n1, SLURM job 7 of run run-1, start 1" + printed)
    with open_log(path, job):
        pass
    last = path.read_text().splitlines()[-1]
    assert last.endswith(
        "the start before, of SLURM job 7, ended without a word; "
        "SLURM: FAILED: StepId=7.0 exceeded memory limit (470765568 > 419430400), being killed"
    )
    with open_log(path, SlurmJob("9", run="run-2")):
        pass
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ("gpu[03-05,9],big1", "gpu03"),
        ("big1,gpu[03-05]", "big1"),
        ("node7", "node7"),
        ("r[1-2]n[5,7]-ib", "r1n5-ib"),
        ("127.0.0.[1-2]", "127.0.0.1"),
    ],
)
def test_first_host_of_a_list_of_nodes(names, first):
    assert first_host(names) == first


def test_a_step_on_one_node_needs_no_rendezvous():
    assert rendezvous({}) is None
    assert rendezvous({"SLURM_JOB_ID": "7", "SLURM_NNODES": "2"}) is None, "the batch script is no step"
    assert (
        rendezvous({"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NODEID": "0"}) is None
    )


def test_two_nodes_find_each_other(tmp_path):
    """Two local processes with SLURM's variables of two nodes, each with two devices."""
    step = {
        "SLURM_JOB_ID": "54321",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "127.0.0.[1-2]",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    jobs = []
    for node in (0, 1):
        folder = tmp_path / f"node{node}"
        folder.mkdir()
        with (folder / "out").open("w") as out:
            (folder / "stage.py").write_text(PROBE)
            command = [sys.executable, "-c", LAUNCH.format(gpus=4, nodes=2, processes=4), "never-written.log"]
            jobs.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment(folder, **step, SLURM_NODEID=str(node)),
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            )
    assert [job.wait(120) for job in jobs] == [0, 0], [(tmp_path / f"node{n}" / "out").read_text() for n in (0, 1)]
    for node in (0, 1):
        text = (tmp_path / f"node{node}" / "out").read_text()
        found = sorted(map(json.loads, re.findall(r"\{.*?\}", text)), key=lambda facts: facts["RANK"])
        assert [facts["RANK"] for facts in found] == [2 * node, 2 * node + 1]
        assert [facts["LOCAL_RANK"] for facts in found] == [0, 1]
        assert all(
            (facts["WORLD_SIZE"], facts["LOCAL_WORLD_SIZE"], facts["GROUP_RANK"], facts["sum"]) == (4, 2, node, 0b1111)
            for facts in found
        )
        assert {facts["port"] for facts in found} == {12_000 + 54321 % 20_000}
