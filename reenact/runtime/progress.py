"""How far a long loop is: a bar in a terminal, a line now and then in a log file."""

import io
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LOG_INTERVAL = 20.0
"""Least time between two lines in a log file, s."""


class _Lines(io.TextIOBase):
    """Standard error with a line for each state of the bar, where carriage returns would pile up on one."""

    def write(self, text: str) -> int:
        """Write what is not blank as a line of its own."""
        if line := text.strip():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        return len(text)


def progress(items: Iterable[Item], total: int, title: str, unit: str = "frame") -> Iterator[Item]:
    """Iterate, and show on standard error how many of `total` are done, how many a second, and the time left."""
    terminal = sys.stderr.isatty()
    yield from tqdm(
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
