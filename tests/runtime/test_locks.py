"""Locks: held by one process, free once it has ended, and said where there are none."""

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


def test_a_system_without_locks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with (tmp_path / "lock").open("ab") as file, pytest.raises(OSError, match="no flock"):
        try_lock(file)
