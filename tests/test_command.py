"""The command `reenact`: quick help, a project from nothing to a build, and errors that are one sentence."""

import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec

import click
import pytest
from click.testing import CliRunner
from demo_media import find_media
from tree import ROOT

from reenact.__main__ import INNER, Commands, group
from reenact.project.build import Build, BuildState, FailedJob, RunningJob, Stage
from reenact.project.display import last_words, picture
from reenact.project.folder import Project
from reenact.project.workflow import snakemake_arguments, workflow_folder
from reenact.runtime.errors import UserError

COMMANDS = Commands().list_commands(None)
HEAVY = {"torch", "cv2", "pandas", "mediapipe", "ai_edge_litert", "snakemake", "numpy", "matplotlib"}
HELP = """
import sys
from reenact.__main__ import group
for name in {names}:
    try:
        group.main([*([name] if name else []), "--help"], prog_name="reenact", standalone_mode=False)
    except SystemExit as end:
        assert not end.code
print("loaded:", *({heavy} & sys.modules.keys()))
"""


def shown_help(*names, heavy=HEAVY):
    """Help of commands ('' = of `reenact`), and which heavy packages were loaded."""
    code = HELP.format(names=names, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    text, _, last = done.stdout.rstrip().rpartition("\n")
    return text, last.removeprefix("loaded:").split()


def test_help_names_every_command_and_loads_nothing_large():
    text, loaded = shown_help("")
    assert not loaded
    for path in (ROOT / "workflow_scripts").glob("[!_]*.py"):
        assert path.stem in INNER or re.search(rf"^  {path.stem.replace('_', '-')} ", text, re.M), path


def test_help_of_every_command_loads_nothing_large():
    text, loaded = shown_help(*COMMANDS, heavy=HEAVY - {"numpy"})
    assert not loaded
    assert re.findall(r"^Usage: reenact (\S+) ", text, re.M) == COMMANDS


def test_it_is_run_as_a_module_too():
    command = [sys.executable, "-m", "reenact", "--version"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.startswith("reenact, version")


def reenact(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(group, list(map(str, arguments)), standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["crp"], "Did you mean 'crop'?"),
        (["zzz"], "`reenact --help` lists them"),
        (["crop", "--size", "1"], "Missing option '--media'"),
        (["build"], "is no project, it has no config.yaml; `reenact new DIR` makes one"),
        (["add", "anna", "photo.png"], "is no project"),
        (["try", "gone.png", "gone.mp4"], "gone.png: does not exist"),
        (["try", "README.md", "README.md", "out.avi"], "must end in .mp4"),
        (["settings", "crp"], "'crp' is no section"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, click.ClickException)) as error:
        reenact(*arguments)
    said = error.value
    assert message in (said.format_message() if isinstance(said, click.ClickException) else str(said))


def test_names_may_be_written_with_either_dash():
    for name in ("export-onnx", "export_onnx"):
        assert "ONNX" in CliRunner().invoke(group, [name, "--help"]).output


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A project with a person and a third of a second of a driver, made by the command; the current folder."""
    folder = tmp_path / "lab"
    reenact("new", folder)
    for name, target in (("astronaut.png", "photos"), ("single_face.mp4", "videos")):
        (folder / target / name).write_bytes(find_media(name).read_bytes())
    monkeypatch.chdir(folder / "photos")
    assert "no --consent is stated" in reenact("add", "anna", "astronaut.png", "--project", "..").output
    monkeypatch.chdir(folder)
    reenact("add", "speech", "videos/single_face.mp4", "--driver", "--end", "0.3")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


def build(*arguments):
    """Run `reenact build` as a user does: its status and all that it prints."""
    command = [sys.executable, "-m", "reenact", "build", *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_new_add_and_what_would_be_built(lab):
    config = Project.open(lab).config()
    assert config.identities["anna"].media == "photos/astronaut.png" and config.drivers["speech"].end == 0.3
    status, printed = build("-n")
    assert status == 0 and re.search(r"^ +1  render$", printed, re.M), printed
    assert not (lab / "results").exists() and Build.current(Project.open(lab)) is None
    before = (lab / "config.yaml").read_text()
    for arguments, message in (
        (["anna", "photos/astronaut.png"], "called so already"),
        (["ben", "photos/ben.png"], "does not exist"),
        (["b/n", "photos/astronaut.png"], "letters, digits"),
        (["ben", "videos/single_face.mp4", "--end", "1"], "--end is for drivers"),
        (["talk", "videos/single_face.mp4", "--driver", "--end", "soon"], "must be seconds"),
    ):
        with pytest.raises((UserError, click.ClickException), match=message):
            reenact("add", *arguments)
    assert (lab / "config.yaml").read_text() == before
    with pytest.raises(UserError, match="is a project already"):
        reenact("new", ".")


def test_a_build_in_a_terminal_is_shown_stopped_by_control_c_and_gone_on_with(lab):
    pty = pytest.importorskip("pty")
    main, terminal = pty.openpty()
    target = "results/clips/speech/mattes.zip"
    # Everything, which takes a minute: it cannot be over before it is stopped.
    command = [sys.executable, "-m", "reenact", "build", "--cores", "1"]
    run = subprocess.Popen(command, stdout=terminal, stderr=terminal, text=True)
    os.close(terminal)
    shown = ""
    while not re.search(r"log: logs/\w+/(anna|speech)\.log", shown):
        shown += os.read(main, 4096).decode(errors="replace")
    run.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(main, 4096):
            shown += chunk.decode(errors="replace")
    except OSError:  # how a terminal ends whose program has left
        pass
    assert run.wait(60) == 130 and "the same command goes on" in shown
    assert re.search(r"render +░+ +0 of 1", shown)
    status, printed = build("--cores", "1", target)
    assert status == 0 and "segment: 1 of 1" in printed and "Built: " in printed, printed
    assert (lab / target).exists()
    with pytest.raises(UserError, match="no build is running"):
        reenact("build", "--stop")


def test_a_failure_is_its_sentence_and_its_log(lab):
    (lab / "photos" / "astronaut.png").write_bytes(b"no picture")
    status, printed = build("--cores", "1", "results/clips/anna/frames.csv")
    assert status == 1
    assert re.search(r"^  decode anna: photos/astronaut\.png: .*\n    log: logs/decode/anna\.log$", printed, re.M)


def test_the_picture_of_a_build_says_what_runs_how_fast_and_where_its_log_is():
    job = RunningJob("render", "anna/speech", "logs/render/anna/speech.log", 5.0, False, 0.5, 12.34, "frame", 75.0)
    waiting = RunningJob("render", "ben/speech", "logs/render/ben/speech.log", 5.0, waiting=True)
    stages = {"crop": Stage(3, 3), "render": Stage(1, 4, failed=1)}
    state = BuildState("running", started=0.0, stages=stages, jobs=[job, waiting])
    crop, render, whole = picture(state, 65.0, 200)
    assert crop == "crop    ████████████████████    3 of 3"
    assert render.startswith("render  ███████░░░") and "1 failed" in render
    assert "anna/speech 50%, 12.3 frames/s, 1:15 left; ben/speech waits" in render
    assert whole.startswith("4 of 7 jobs, 1:05; log: logs/render/anna/speech.log, ")
    assert all(len(line) <= 40 for line in picture(state, 65.0, 40))
    assert picture(BuildState("running", 0.0), 3.0, 80) == ["planning, 0:03"]


def test_the_last_words_of_a_build(tmp_path):
    made = Build(Project(tmp_path))
    failure = FailedJob("crop", "anna", "photos/anna.png: no face found", "logs/crop/anna.log")
    state = BuildState("failed", 0.0, ended=9.0, failures=[failure])
    assert last_words(made, state)[1:] == ["  crop anna: photos/anna.png: no face found", "    log: logs/crop/anna.log"]
    assert last_words(made, BuildState("failed", 0.0, ended=9.0, message="error: why")) == ["error: why"]
    assert "goes on" in last_words(made, BuildState("stopped", 0.0, ended=61.0))[0]
    assert last_words(made, BuildState("done", 0.0, ended=9.0)) == ["Built: nothing was to do."]


def test_snakemakes_own_options_go_through(tmp_path):
    def arguments(*options):
        return snakemake_arguments(tmp_path, (), options)[4:]

    assert arguments("--dry-run") == ["--cores", "all", "--dry-run"]
    assert arguments("-c2", "a.mp4") == ["-c2", "a.mp4"] and arguments("--jobs=3") == ["--jobs=3"]
    slurm = str(workflow_folder() / "profiles" / "slurm")
    for options in (["--profile", "slurm"], ["--profile", "profiles/slurm"]):
        assert arguments(*options) == ["--profile", slurm]
    assert arguments("--profile=slurm") == [f"--profile={slurm}"]
    (tmp_path / "profiles" / "slurm").mkdir(parents=True)
    assert arguments("--profile", "profiles/slurm") == ["--profile", "profiles/slurm"]


def test_the_wheel_carries_the_workflow(tmp_path):
    if not find_spec("setuptools"):
        pytest.skip("needs setuptools")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs a git checkout")
    source = tmp_path / "source"
    for name in listed.stdout.split("\n"):
        if name and (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            # Weights are many megabytes, and only their names count here.
            (source / name).write_bytes(
                b"" if name.endswith((".safetensors", ".tflite")) else (ROOT / name).read_bytes()
            )
    build = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())
    workflow = ["Snakefile", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "rules").rglob("*.*"))]
    workflow += [
        path.relative_to(ROOT).as_posix() for folder in ("profiles", "envs") for path in (ROOT / folder).rglob("*.*")
    ]
    assert {f"reenact/workflow/{name}" for name in workflow} <= files
    ours = [
        path.relative_to(ROOT).as_posix()
        for room in ("reenact", "workflow_scripts")
        for path in (ROOT / room).rglob("*.py")
    ]
    assert set(ours) <= files and "reenact/bundled/warping.safetensors" in files
    assert not [name for name in files if name.startswith(("tests", "benchmarks", "reenact/workflow/docs", "build"))]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"reenact": "reenact.__main__:main"}
