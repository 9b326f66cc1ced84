"""Locks: held by one process, free once it has ended, and said where there are none."""

import errno
import os
import subprocess
import sys

import pytest

from reenact.runtime import locks
from reenact.runtime.locks import try_lock

HOLD = """
import sys
from reenact.runtime.locks import try_lock
file = open(sys.argv[1], "ab")
print(try_lock(file), flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "True\n"
        with path.open("ab") as file:
            assert not try_lock(file)
        other.kill()
        other.wait()
        with path.open("ab") as file:
            assert try_lock(file)


class Windows:
    """Stands for msvcrt, whose locks lie on bytes of a file."""

    LK_NBLCK = 2

    def __init__(self):
        self.locked = []

    def locking(self, descriptor, mode, length):
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR), length
        if place in self.locked:
            raise OSError(errno.EACCES, "Permission denied")
        self.locked.append(place)


def test_windows_locks_a_byte_behind_all_that_is_written(tmp_path, monkeypatch):
    windows = Windows()
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", windows)
    with (tmp_path / "lock").open("a+b") as file, (tmp_path / "lock").open("a+b") as other:
        file.write(b"journal")
        file.flush()
        file.seek(3)
        assert try_lock(file) and not try_lock(other)
        assert file.read() == b"rnal"
    (_, offset, length), *more = windows.locked
    assert offset >= 2**30 and length == 1 and not more


def test_a_system_without_locks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with (tmp_path / "lock").open("ab") as file, pytest.raises(OSError, match="no locks"):
        try_lock(file)
