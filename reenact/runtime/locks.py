"""Locks on files: one process at a time, and free again however the process that holds one ends."""

import errno
import os
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt as _msvcrt

    msvcrt: Any = _msvcrt
except ImportError:  # everywhere else
    msvcrt = None

# Windows locks bytes, against reading too, so a byte is locked that lies behind all that is ever written.
_FAR = 1 << 30


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process alone, until the file is closed.

    Returns:
        False if another process has it.

    Raises:
        OSError: the file system, or the operating system, has no such locks.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    if msvcrt is None:
        raise OSError(errno.ENOSYS, "this operating system has no locks on files")
    place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    try:
        os.lseek(file.fileno(), _FAR, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EDEADLK):
            raise
        return False
    finally:
        os.lseek(file.fileno(), place, os.SEEK_SET)
    return True
