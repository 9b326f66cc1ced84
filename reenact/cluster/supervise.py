"""Running a command, handing on the signals that come meanwhile."""

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from reenact.runtime.interruption import WARNINGS

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
        Its exit status, 128 + N for signal N; and whether a stop was requested of this process too.
    """
    child: subprocess.Popen[bytes] | None = None
    stop_requested: list[int] = []

    def warn(number: int, child: subprocess.Popen[bytes]) -> None:
        """Pass a warning on to the command and to the workers that it has."""
        # torchrun starts the workers out of reach of signals to our group.
        send_signal(number, [child.pid, *(children(child.pid) if workers else [])])

    def hand_on(number: int, frame: FrameType | None) -> None:
        """Note a signal to this process, and pass it on where the command does not get it by itself."""
        stop_requested.append(number)
        if child and child.poll() is None:
            if number in WARNINGS:
                warn(number, child)
            elif not in_job:
                child.send_signal(number)

    former = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, *WARNINGS)}
    # Control-C reaches the command as well, and what it makes of it counts.
    former[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        # Windows cannot hand descriptors on: there this process, which ends after its child, holds them alone.
        handed = list(locks) if os.name == "posix" else []
        child = subprocess.Popen(command, env=environment, pass_fds=handed, stdout=output, stderr=subprocess.STDOUT)
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(REPEAT_AFTER)
            if child.poll() is None and stop_requested and stop_requested[-1] in WARNINGS:
                warn(stop_requested[-1], child)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    status = child.returncode
    return (status if status >= 0 else 128 - status), bool(stop_requested)


def send_signal(number: int, processes: Iterable[int]) -> None:
    """Send a signal to each of the processes that is still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that have not ended (Linux)."""
    found: list[int] = []
    for file in Path("/proc", str(pid), "task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends while it is listed
            found += map(int, file.read_text().split())
    return found
