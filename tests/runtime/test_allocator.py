"""How glibc gives out memory: maps that are freed make room for others."""

import subprocess
import sys

import pytest

from reenact.runtime.allocator import VARIABLE, without_caches

AGAIN = """
import ctypes
from reenact.runtime.allocator import keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]

def tensor(size):
    # As torch does it.
    place = ctypes.c_void_p()
    assert libc.posix_memalign(ctypes.byref(place), ctypes.c_size_t(64), ctypes.c_size_t(size)) == 0
    return place.value

maps = [tensor(2**22) for _ in range(60)]
end = max(maps)
for number, freed in enumerate(maps):
    if number % 3:
        libc.free(freed)
print(sum(tensor(2**23) < end for _ in range(20)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_maps_side_by_side_make_room_for_a_larger_one():
    ended = subprocess.run([sys.executable, "-c", AGAIN], env=without_caches({}), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == 20


def test_who_has_tunables_keeps_them():
    assert without_caches({VARIABLE: "glibc.malloc.check=1"}) == {VARIABLE: "glibc.malloc.check=1"}
