"""What a build would do, and other questions to Snakemake: answered at once, with nothing built."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reenact.project.events import FILE, read_events
from reenact.project.folder import Project
from reenact.project.workflow import environment, snakemake_arguments


def show_plan(project: Project, options: Sequence[str]) -> int:
    """Print how many jobs of each stage a build would make; what Snakemake prints, where it cannot plan.

    Args:
        project: to be built.
        options: Snakemake's, `--dry-run` among them.

    Returns:
        Exit status.
    """
    project.config()
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder, "events.jsonl")
        done = subprocess.run(
            [sys.executable, "-m", "reenact.project.run", *snakemake_arguments(project.folder, (), options)],
            cwd=project.folder,
            env=environment() | {FILE: str(events)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        plans = [event.values["stages"] for event in read_events(events) if event.kind == "planned"]
        said = [event.values["text"] for event in read_events(events) if event.kind == "message"]
    if done.returncode:
        print("\n".join(said) or done.stdout, file=sys.stderr)
    elif not plans:
        print("Nothing is to do.")
    else:
        print("\n".join([*(f"{count:>5}  {name}" for name, count in plans[-1].items()), ""]), end="")
        print(f"{sum(plans[-1].values()):>5}  jobs would be made; --verbose lists them")
    return done.returncode


def ask_snakemake(project: Project, options: Sequence[str]) -> int:
    """Run Snakemake in a project, in the foreground, as it is; its exit status."""
    command = [sys.executable, "-m", "snakemake", *snakemake_arguments(project.folder, (), options)]
    environ = environment()
    if os.name == "posix":
        os.chdir(project.folder)
        os.execve(command[0], command, environ)
    return subprocess.run(command, cwd=project.folder, env=environ, check=False).returncode
