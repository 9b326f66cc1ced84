"""A run of the workflow in a project: started by anybody, found again by anybody, stopped by anybody.

It is a process of its own (`reenact.project.run`), which goes on when whoever started it ends. All that is known of it
lies in the project's `logs/build/`: its events, what Snakemake printed, and a lock that it holds.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from reenact.cluster.failures import reason
from reenact.project.events import FILE, Event, read_events, write_event
from reenact.project.folder import Project
from reenact.project.workflow import environment, snakemake_arguments
from reenact.runtime.errors import UserError
from reenact.runtime.locks import try_lock
from reenact.runtime.progress import progress_file, read_progress

FOLDER = Path("logs/build")
KILLED = "the build ended without a word (it was killed, or the machine stopped); the same command goes on"
PAUSE = 0.05
"""Between two tries, s."""
LOOKS = 8
"""How often the lock is tried for: whoever looks whether a build is alive has it for an instant."""
LAST_WORDS = 200
"""The same after a build that has said that it ends, and is about to."""
Status = Literal["running", "done", "failed", "stopped"]


@dataclass
class Stage:
    """The jobs of one stage in a build: how many of `total` are done, and how many failed."""

    done: int = 0
    total: int = 0
    failed: int = 0


@dataclass(frozen=True)
class RunningJob:
    """A job that runs.

    Attributes:
        stage: its rule.
        of: what it is about: a clip, an identity, or such as `anna/speech`.
        log: all that it prints, relative to the project.
        started: s since 1970.
        waiting: it has not begun, as in the queue of a cluster.
        fraction: 0 to 1; None where it does not say.
        rate: `unit`s a second.
        unit: what it counts, such as frame or step.
        seconds_left: None where it does not say.
    """

    stage: str
    of: str
    log: str | None
    started: float
    waiting: bool = False
    fraction: float | None = None
    rate: float | None = None
    unit: str | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class FailedJob:
    """A job that failed: its rule, what it was about, its error in one sentence, and its log in the project."""

    stage: str
    of: str
    why: str
    log: str | None


@dataclass
class BuildState:
    """How far a build is.

    Attributes:
        status: running, done, failed or stopped.
        started, ended: s since 1970; ended is None while it runs.
        stages: by name, in the order of the workflow; empty until it is planned.
        jobs: those that run.
        failures: jobs that failed, and did not succeed when tried again.
        message: why it failed as a whole, where that was not a job: a mistake in the configuration, or a sudden end.
        log: what Snakemake printed, relative to the project.
    """

    status: Status
    started: float
    ended: float | None = None
    stages: dict[str, Stage] = field(default_factory=dict)
    jobs: list[RunningJob] = field(default_factory=list)
    failures: list[FailedJob] = field(default_factory=list)
    message: str = ""
    log: str = str(FOLDER / "snakemake.log")

    @property
    def done(self) -> int:
        """Jobs that are done."""
        return sum(stage.done for stage in self.stages.values())

    @property
    def total(self) -> int:
        """Jobs of this build."""
        return sum(stage.total for stage in self.stages.values())


class Build:
    """The last build of a project, which may be running."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._folder = project.folder / FOLDER
        self._events = self._folder / "events.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, project: Project, targets: Sequence[str] = (), options: Sequence[str] = ()) -> "Build":
        """Start a build; it goes on when this process ends.

        Args:
            project: to build.
            targets: files or rules of the workflow; none = everything.
            options: Snakemake's own, such as `--profile`, `slurm`.

        Raises:
            UserError: the configuration has a mistake, or a build is running in this project.
        """
        if not any(option.startswith("--config") for option in options):
            project.config()
        build, arguments = cls(project), snakemake_arguments(project.folder, targets, options)
        build._folder.mkdir(parents=True, exist_ok=True)
        with (build._folder / "lock").open("ab") as lock:
            if not build._take(lock):
                raise UserError(f"{project.folder}: a build is running already; see it with `reenact build`")
            build._events.unlink(missing_ok=True)
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            write_event(build._events, "started", id=now, targets=list(targets), options=list(options))
            with build.log.open("wb") as log:
                build._process = subprocess.Popen(
                    [sys.executable, "-m", "reenact.project.run", *arguments],
                    cwd=project.folder,
                    env=environment() | {FILE: str(build._events)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    **_detached(lock),
                )
        return build

    @classmethod
    def current(cls, project: Project) -> "Build | None":
        """The build that runs in a project, or the last one; None before the first."""
        build = cls(project)
        return build if build._events.is_file() else None

    @property
    def id(self) -> str:
        """Which build this is: the time at which it started."""
        return next((str(event.values["id"]) for event in self.events() if event.kind == "started"), "")

    @property
    def log(self) -> Path:
        """What Snakemake printed."""
        return self._folder / "snakemake.log"

    def events(self, after: int = 0) -> list[Event]:
        """What happened, in order.

        Args:
            after: number of the last event that is known.
        """
        return read_events(self._events, after)

    def state(self) -> BuildState:
        """How far it is, now."""
        if self._process:
            self._process.poll()  # else it would stay behind as a zombie
        alive = self._alive()
        events = self.events()  # after the look at the lock: what ended before has said so
        return _state(self.project.folder, events, alive)

    def stop(self) -> None:
        """End it as Ctrl+C does: jobs that run save what they have, and the same build goes on from there.

        Returns at once; the state says when it has ended.
        """
        for _ in range(LAST_WORDS):
            pids = [event.values["pid"] for event in self.events() if event.kind == "running"]
            if pids or not self._alive():
                break
            time.sleep(PAUSE)
        if pids and self._alive():
            os.kill(pids[-1], signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> BuildState:
        """Its state at its end, or after `timeout` s."""
        end = None if timeout is None else time.monotonic() + timeout
        while (state := self.state()).status == "running" and (end is None or time.monotonic() < end):
            time.sleep(PAUSE)
        return state

    def _take(self, lock: IO[bytes]) -> bool:
        """Have the lock of a project, unless a build has it."""
        for _ in range(LAST_WORDS if self._ended() else LOOKS):
            if try_lock(lock):
                return True
            time.sleep(PAUSE)
        return False

    def _ended(self) -> bool:
        """Whether the last build has said that it ends."""
        return any(event.kind == "ended" for event in self.events())

    def _alive(self) -> bool:
        """Whether its process lives."""
        try:
            with (self._folder / "lock").open("rb") as lock:
                return not try_lock(lock)
        except FileNotFoundError:
            return False


def _detached(lock: IO[bytes]) -> dict[str, Any]:
    """How a process is started that lives on by itself, and has the lock from the first moment."""
    if os.name == "posix":
        return {"start_new_session": True, "pass_fds": [lock.fileno()]}
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def _state(folder: Path, events: Sequence[Event], alive: bool) -> BuildState:
    """What the events of a build amount to.

    Args:
        folder: of the project, for logs.
        events: all of them.
        alive: whether the build's process lives.
    """
    state = BuildState("running" if alive else "failed", events[0].time if events else time.time())
    running, failed = _jobs(events, state.stages)
    said = [event for event in events if event.kind == "message"]
    state.message = said[-1].values["text"] if said else ""
    ended = next((event for event in events if event.kind == "ended"), None)
    if ended:
        state.ended = ended.time
        state.status = "stopped" if ended.values["stopped"] else "failed" if ended.values["status"] else "done"
        state.message = ended.values["text"] or state.message
    elif not alive:
        state.ended = events[-1].time if events else state.started
        state.message = KILLED
    if state.status == "running":
        state.jobs = [_running(folder, event) for event in running]
    if state.status != "stopped":
        state.failures = [_failed(folder, event) for event in failed]
    for failure in state.failures:
        state.stages.setdefault(failure.stage, Stage()).failed += 1
    if state.failures or state.status in ("done", "stopped"):
        state.message = ""
    return state


def _jobs(events: Sequence[Event], stages: dict[str, Stage]) -> tuple[list[Event], list[Event]]:
    """The starts of the jobs that run, and of those that failed; counts jobs in `stages`."""
    started: dict[int, Event] = {}
    running: dict[int, Event] = {}
    failed: dict[int, Event] = {}
    for event in events:
        values = event.values
        if event.kind == "planned":
            for name, count in values["stages"].items():
                stages.setdefault(name, Stage()).total = count
        elif event.kind == "job":
            started[values["job"]] = running[values["job"]] = event
            failed.pop(values["job"], None)
        elif event.kind == "finished" and values["job"] in running:
            stages.setdefault(running.pop(values["job"]).values["stage"], Stage()).done += 1
        elif event.kind == "failed":
            for number in values["jobs"]:
                running.pop(number, None)
                if number in started:
                    failed[number] = started[number]
    return list(running.values()), list(failed.values())


def _running(folder: Path, event: Event) -> RunningJob:
    stage, of, log = (event.values[key] for key in ("stage", "of", "log"))
    said = read_progress(progress_file(folder / log)) if log else None
    if said is None:
        return RunningJob(stage, of, log, event.time, waiting=bool(log) and not (folder / log).exists())
    fraction = said.fraction if said.total else None
    return RunningJob(stage, of, log, event.time, False, fraction, said.rate or None, said.unit, said.seconds_left)


def _failed(folder: Path, event: Event) -> FailedJob:
    stage, of, log = (event.values[key] for key in ("stage", "of", "log"))
    found = bool(log) and (folder / log).is_file()
    return FailedJob(
        stage, of, reason((folder / log).read_text(encoding="utf-8", errors="replace") if found else ""), log
    )
