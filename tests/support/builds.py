"""Builds that tests start."""

import os
import signal

from reenact.project.build import Build
from reenact.project.folder import Project


def kill_build(project: Project) -> None:
    """End the build of a project, if one runs, without a word to it."""
    build = Build.current(project)
    for event in build.events() if build else []:
        if event.kind == "running" and build.state().status == "running":
            os.killpg(event.values["pid"], signal.SIGKILL)
