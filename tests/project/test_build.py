"""A build is found again, stopped, gone on with and seen as dead, whoever started it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from builds import kill_build

from reenact.project import workflow
from reenact.project.build import FOLDER, Build
from reenact.project.folder import Project
from reenact.runtime.errors import UserError

SNAKEFILE = """
rule all:
    default_target: True
    input: "slow.txt", "quick.txt", *(["bad.txt"] if config.get("bad") else [])
rule quick:
    output: "quick.txt"
    log: "logs/quick/quick.log"
    shell: "echo hello > {log}; touch {output}"
rule bad:
    output: "bad.txt"
    log: "logs/bad/anna.log"
    shell: "echo 'error: anna: has no face' > {log}; exit 1"
rule slow:
    output: "slow.txt"
    log: "logs/slow/anna/speech.log"
    shell:
        "exec python -m workflow_scripts.launch --log {log} project_test_slow"
"""
SLOW = """
import signal, time, pathlib, sys
from reenact.runtime.progress import progress
def leave(number, frame):
    pathlib.Path("saved.txt").write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, leave)
for _ in progress(range(100), 100, "slow anna/speech"):
    time.sleep(0.02 if pathlib.Path("saved.txt").exists() else 0.5)
pathlib.Path("slow.txt").touch()
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of a workflow of three rules, one of which takes a while, and shows how far it is."""
    made = Project.create(tmp_path / "lab")
    (made.folder / "Snakefile").write_text(SNAKEFILE)
    (made.folder / "workflow_scripts").mkdir()
    for module in ("__init__", "launch"):
        source = workflow.PACKAGE.parent / "workflow_scripts" / f"{module}.py"
        (made.folder / "workflow_scripts" / source.name).write_text(source.read_text())
    (made.folder / "workflow_scripts" / "project_test_slow.py").write_text(SLOW)
    monkeypatch.setattr(workflow, "workflow_folder", lambda: made.folder)
    yield made
    kill_build(made)


def start(project, *targets, cores="2"):
    return Build.start(project, targets, ["--cores", cores, "--keep-going", "--config", "bad="])


def wait_for(build, ready):
    end = time.monotonic() + 60
    while not ready(build.state()):
        assert time.monotonic() < end, (build.state(), build.log.read_text())
        time.sleep(0.1)
    return build.state()


def test_progress_stop_and_go_on(project):
    start(project)
    build = Build.current(project)  # as another process finds it
    with pytest.raises(UserError, match="running already"):
        start(project)
    state = wait_for(build, lambda state: state.done == 1 and any(job.rate for job in state.jobs))
    assert state.status == "running" and state.total == 2 and state.stages["quick"].done == 1
    (job,) = state.jobs
    assert (job.stage, job.of, job.log, job.unit) == ("slow", "anna/speech", "logs/slow/anna/speech.log", "frame")
    assert 0 < job.fraction < 1 and job.seconds_left > 1
    build.stop()
    state = build.wait(30)
    assert state.status == "stopped" and not state.failures and not state.jobs and not state.message
    assert (project.folder / "saved.txt").exists() and not (project.folder / "slow.txt").exists()
    first = build.id
    state = start(project, cores="1").wait(60)
    assert state.status == "done" and state.stages["slow"].done == state.total == 1, build.log.read_text()
    assert build.id != first and not list(project.folder.rglob("*.progress"))
    kinds = [event.kind for event in build.events()]
    assert kinds[:3] == ["started", "running", "planned"] and kinds[-1] == "ended"
    assert [event.number for event in build.events(after=2)] == list(range(3, len(kinds) + 1))


def test_a_failed_job_is_its_sentence_and_its_log(project):
    state = start(project, "bad.txt", "quick.txt").wait(60)
    assert state.status == "failed" and state.done == 1 and not state.message
    (failure,) = state.failures
    assert (failure.stage, failure.of, failure.why) == ("bad", "anna", "anna: has no face")
    assert failure.log == "logs/bad/anna.log" and state.stages["bad"].failed == 1


def test_a_build_lives_on_without_its_starter_and_a_killed_one_is_seen(project):
    script = (
        "import sys; from pathlib import Path; from reenact.project import workflow\n"
        "from reenact.project.build import Build; from reenact.project.folder import Project\n"
        "folder = Path(sys.argv[1]); workflow.workflow_folder = lambda: folder\n"
        "Build.start(Project.open(folder), ['slow.txt'], ['--cores', '1', '--config', 'bad='])"
    )
    subprocess.run([sys.executable, "-c", script, str(project.folder)], check=True)
    build = Build.current(project)
    wait_for(build, lambda state: state.jobs)
    (running,) = [event for event in build.events() if event.kind == "running"]
    os.killpg(running.values["pid"], signal.SIGKILL)
    state = wait_for(build, lambda state: state.status != "running")
    assert state.status == "failed" and "without a word" in state.message and not state.jobs


def test_what_snakemake_cannot_plan_is_said(project):
    state = start(project, "nobody.txt").wait(60)
    assert state.status == "failed" and "nobody.txt" in state.message
    assert str(FOLDER / "snakemake.log") == state.log


def test_a_mistake_in_the_configuration_starts_nothing(project):
    with pytest.raises(UserError, match="identities: is empty"):
        Build.start(project)
    assert Build.current(project) is None
