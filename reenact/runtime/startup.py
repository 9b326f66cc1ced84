"""How a process starts quickly."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import here what a process needs all its life: neither now nor later does Python look for garbage in it.

    torch's modules are half a million objects, none of them garbage. Python's search for cycles goes through all of
    them several times while they are imported, and again as the process ends: 0.9 s of the 2.2 s that a stage with
    torch took to start and end.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if searching:
            gc.enable()
