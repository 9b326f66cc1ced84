"""Being told to stop: the step that runs is finished and saved, then the run leaves with `CONTINUE_STATUS`."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

WARNINGS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGURG") if hasattr(signal, name))
"""Signals by which SLURM announces the end of a job's time (sbatch --signal); Windows has none of them."""
SIGNALS = (signal.SIGTERM, *WARNINGS)
"""SIGTERM: the machine or the scheduler ends the job. SIGUSR1, SIGURG: it warns beforehand (SLURM's --signal).

Snakemake and bash ignore SIGURG, so it can be sent to a whole job and reaches only the training. SIGINT stays what it
is: stop at once.
"""


class Interruption:
    """While it is open, SIGNALS are kept rather than obeyed.

    Use it as a context manager; it does nothing outside of the main thread.

    Attributes:
        stop_requested: name of the first signal that came, None while none has.
    """

    def __init__(self) -> None:
        self.stop_requested: str | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # no other may have handlers
            self._former = {number: signal.signal(number, self._keep) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = self.stop_requested or signal.Signals(number).name
