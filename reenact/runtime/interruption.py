"""Being told to stop: the step that runs is finished and saved, then the run leaves with `CONTINUE_STATUS`."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

WARNINGS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGURG") if hasattr(signal, name))
"""Signals by which SLURM announces the end of a job's time (sbatch --signal); Windows has none of them."""
SIGNALS = (signal.SIGTERM, *WARNINGS)
"""SIGTERM: the machine or the scheduler ends the job. SIGUSR1, SIGURG: it warns beforehand (SLURM's --signal).

Snakemake and bash ignore SIGURG, so it can be sent to a whole job and reaches only the training. SIGINT stays what it
is: stop at once.
"""


@contextmanager
def handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGNALS call `handle` inside of the block, and afterwards what they called before.

    It does nothing outside of the main thread, since no other may have handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Interruption:
    """While it is open, SIGNALS are kept rather than obeyed. A context manager.

    Attributes:
        stop_requested: name of the first signal that came, None while none has.
    """

    def __init__(self) -> None:
        self.stop_requested: str | None = None
        self._handled = handled_by(self._keep)

    def __enter__(self) -> "Interruption":
        self._handled.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handled.__exit__(kind, error, trace)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = self.stop_requested or signal.Signals(number).name
