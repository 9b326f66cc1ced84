"""Running a command, handing on the signals that come meanwhile."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

WARNINGS = (signal.SIGUSR1, signal.SIGURG)
"""Signals by which SLURM announces the end of a job's time (sbatch --signal)."""


def supervise(
    command: list[str], environment: dict[str, str], locks: Sequence[int], output: TextIO, *, in_job: bool, workers: bool
) -> tuple[int, bool]:
    """Run a command to its end.

    Args:
        command, environment: what to run.
        locks: descriptors that it inherits.
        output: for what it prints.
        in_job: whether this is a job of SLURM's, which signals every process by itself.
        workers: whether the command is torchrun, whose workers have to be warned too.

    Returns:
        Its exit status, 128 + N for signal N; and whether a signal came to this process too.
    """
    child: subprocess.Popen[bytes] | None = None
    told = False

    def hand_on(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        if child and child.poll() is None:
            if not in_job:
                child.send_signal(number)
            # torchrun hands on SIGTERM, but no warnings, and starts its workers out of reach of signals to our group.
            for worker in children(child.pid) if workers and number in WARNINGS else []:
                os.kill(worker, number)

    former = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, *WARNINGS)}
    # Control-C reaches the command as well, and what it makes of it counts.
    former[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        child = subprocess.Popen(command, env=environment, pass_fds=list(locks), stdout=output, stderr=subprocess.STDOUT)
        status = child.wait()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return (status if status >= 0 else 128 - status), told


def children(pid: int) -> list[int]:
    """Processes that a process has started (Linux)."""
    return [int(child) for file in Path("/proc", str(pid), "task").glob("*/children") for child in file.read_text().split()]
