"""Writing files so that a crash or a full disk never leaves half of one behind."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from reenact.runtime.errors import UserError

UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EFBIG,
}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, delete it on any error.

    The temporary name keeps the suffix, because encoders choose the container by it.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file as a whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `beside` (on the same disk as what is written there); deleted at the end.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        beside.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".making-", dir=beside))
    except OSError as error:
        raise UserError(f"{beside}: cannot be written ({error.strerror or error})") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` at the end, and is deleted on any error.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    with temporary_folder(path.parent) as holder:
        folder = holder / path.name
        try:
            folder.mkdir()
            yield folder
            if path.is_dir():
                path.rename(holder / "former")
            folder.rename(path)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


# ---- at a place in a file -------------------------------------------------------------------------------------

BINARY = getattr(os, "O_BINARY", 0)
"""For os.open: Windows changes the ends of lines without it."""
_PLACES = Lock()


def read_at(file: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes of an open file, from `offset` on; several threads may ask at a time."""
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    with _PLACES:  # Windows: a file has one place for all threads
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, size)


def write_at(file: int, data: bytes | memoryview, offset: int) -> int:
    """Write into an open file, from `offset` on; the number of bytes that were written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, data, offset)
    with _PLACES:
        os.lseek(file, offset, os.SEEK_SET)
        return os.write(file, data)
