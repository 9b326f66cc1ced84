"""Keeping C++ libraries from printing to standard error."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class _StandardError:
    """Standard error belongs to the whole process: it is turned aside as long as any thread wants it to be."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted = 0

    def turn_aside(self) -> None:
        """Into a file, until everybody has given it back."""
        with self._lock:
            if not self._wanted:
                self._held, self._own = tempfile.TemporaryFile(), os.dup(2)
                os.dup2(self._held.fileno(), 2)
            self._wanted += 1

    def give_back(self, show: bool) -> None:
        """One thread less wants it turned aside; `show` what was held back."""
        with self._lock:
            if show:
                self._held.seek(0)
                os.write(self._own, self._held.read())
            self._wanted -= 1
            if not self._wanted:
                os.dup2(self._own, 2)
                os.close(self._own)
                self._held.close()


_STDERR = _StandardError()


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C++ libraries print to standard error; it is shown after all if an exception passes."""
    _STDERR.turn_aside()
    failed = True
    try:
        yield
        failed = False
    finally:
        _STDERR.give_back(show=failed)
