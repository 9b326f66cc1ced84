"""Locks on files: one process at a time, and free again however the process that holds one ends."""

import errno
from typing import IO

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process alone, until the file is closed.

    Returns:
        False if another process has it.

    Raises:
        OSError: the file system, or the operating system, has no such locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, "this operating system has no flock")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
