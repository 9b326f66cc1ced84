"""How glibc gives out memory, to processes that take maps of the same sizes again and again.

Does nothing where the C library is another.
"""

import ctypes
import sys
from collections.abc import Mapping

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt."""

VARIABLE = "GLIBC_TUNABLES"
NO_CACHES = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
"""Small blocks are not cached. Torch's tensors are cut from larger blocks, so that they are aligned; what is left over,
once cached, keeps freed maps on both sides of it apart, so that no larger one fits in their place."""


def keep_freed_memory() -> None:
    """Have glibc keep large blocks that are freed, for the next ones of this process.

    By itself it gives blocks of more than 32 MB back at once, and each map of a picture of 256 px in a batch then
    begins with thousands of page faults.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def without_caches(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process whose freed maps make room for others; glibc reads it when a process starts.

    Who has set tunables keeps them.
    """
    return {VARIABLE: NO_CACHES, **environ}
