"""Running a command, handing on the signals that come meanwhile."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

WARNINGS = (signal.SIGUSR1, signal.SIGURG)
"""Signals by which SLURM announces the end of a job's time (sbatch --signal)."""
REPEAT_AFTER = 5.0
"""How often a warning is repeated, s: a stage that still loads its data does not listen yet."""


def supervise(
    command: list[str],
    environment: dict[str, str],
    locks: Sequence[int],
    output: TextIO,
    *,
    in_job: bool,
    workers: bool,
) -> tuple[int, bool]:
    """Run a command to its end.

    Args:
        command, environment: what to run.
        locks: descriptors that it inherits.
        output: for what it prints.
        in_job: whether this is a job of SLURM's, which sends SIGTERM to every process by itself.
        workers: whether the command has workers, which have to be warned too.

    Returns:
        Its exit status, 128 + N for signal N; and whether a signal came to this process too.
    """
    child: subprocess.Popen[bytes] | None = None
    told: list[int] = []

    def warn(number: int) -> None:
        """Send a warning to the command and its workers, which torchrun's launcher starts out of reach of signals to our group."""
        for process in [child.pid, *(children(child.pid) if workers else [])]:
            os.kill(process, number)

    def hand_on(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if child and child.poll() is None:
            if number in WARNINGS:
                warn(number)
            elif not in_job:
                child.send_signal(number)

    former = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, *WARNINGS)}
    # Control-C reaches the command as well, and what it makes of it counts.
    former[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        child = subprocess.Popen(
            command, env=environment, pass_fds=list(locks), stdout=output, stderr=subprocess.STDOUT
        )
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(REPEAT_AFTER)
            if child.poll() is None and told and told[-1] in WARNINGS:
                warn(told[-1])
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    status = child.returncode
    return (status if status >= 0 else 128 - status), bool(told)


def children(pid: int) -> list[int]:
    """Processes that a process has started (Linux)."""
    return [
        int(child) for file in Path("/proc", str(pid), "task").glob("*/children") for child in file.read_text().split()
    ]
