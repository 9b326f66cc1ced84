"""How far a long loop is: a bar in a terminal, a line now and then in a log file, and a small file for whoever asks.

What shows progress decides nothing: `progress(items, ...)` counts as `items` in a stage's fingerprint.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

Item = TypeVar("Item")

LOG_INTERVAL = 20.0
"""Least time between two lines in a log file, s."""
FILE_INTERVAL = 0.5
"""Least time between two states in VARIABLE's file, s."""
VARIABLE = "REENACT_PROGRESS"
"""Environment variable that names the file in which a job says how far it is."""
_OUTERMOST = Lock()


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        title: what it does, such as `render anna/speech`.
        done, total: of its items; total is 0 where nobody knows it.
        unit: what an item is.
        rate: items a second since it began; 0 at first.
    """

    title: str
    done: int
    total: int
    unit: str
    rate: float

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """s; None where it is not known yet."""
        return max(0, self.total - self.done) / self.rate if self.rate and self.total else None


def progress_file(log: Path) -> Path:
    """Where the job with a log says how far it is."""
    return log.with_name(f".{log.stem}.progress")


def read_progress(path: Path) -> Progress | None:
    """What a job said last; None where it has said nothing."""
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class Reporter:
    """Writes a job's progress into the file that VARIABLE names; nowhere if none is named.

    Args:
        title, total, unit: see `Progress`.
        done: items that an earlier run has done.
    """

    def __init__(self, title: str, total: int, unit: str = "frame", done: int = 0) -> None:
        self._path = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
        self._title, self._total, self._unit, self._first = title, total, unit, done
        self._started = time.monotonic()
        self._written = 0.0
        self.at(done)

    def at(self, done: int) -> None:
        """Say how many items are done."""
        now = time.monotonic()
        if self._path is None or (now - self._written < FILE_INTERVAL and done < self._total):
            return
        rate = (done - self._first) / (now - self._started) if now > self._started else 0.0
        state = Progress(self._title, done, self._total, self._unit, rate)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):  # a full disk is for the stage itself to report
            temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
            os.replace(temporary, self._path)
        self._written = now


class _Lines(io.TextIOBase):
    """Standard error with a line for each state of the bar, where carriage returns would pile up on one."""

    def write(self, text: str) -> int:
        """Write what is not blank as a line of its own."""
        if line := text.strip():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        return len(text)


def progress(items: Iterable[Item], total: int, title: str, unit: str = "frame", shown: bool = True) -> Iterator[Item]:
    """Iterate, and say how many of `total` are done, how many a second, and the time left.

    Said in VARIABLE's file, and on standard error too if it is to be `shown`; nowhere inside of another such loop of
    this process.
    """
    if not _OUTERMOST.acquire(blocking=False):
        yield from items
        return
    try:
        reporter = Reporter(title, total, unit)
        for done, item in enumerate(_bar(items, total, title, unit) if shown else items, 1):
            yield item
            reporter.at(done)
    finally:
        _OUTERMOST.release()


def _bar(items: Iterable[Item], total: int, title: str, unit: str) -> Iterable[Item]:
    from tqdm import tqdm  # where builds are only started it may be missing (envs/driver.txt)

    terminal = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=title,
        unit=f" {unit}s",
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        mininterval=0.2 if terminal else LOG_INTERVAL,
        file=sys.stderr if terminal else _Lines(),
        ascii=not terminal,
    )
