"""What a training run says about itself: stats.jsonl, TensorBoard, and a status line with the time left."""

import resource
import sys
from collections import defaultdict
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from reenact.runtime.errors import UserError
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder

TENSORBOARD = "tensorboard"
"""Folder in the run folder; `tensorboard --logdir results/runs` finds those of all runs."""


class TrainLogger:
    """The same numbers into stats.jsonl and TensorBoard. Silent in all processes but the main one. Use it as a context manager.

    Args:
        run: folder of the run.
        first, last: steps that are about to be made; what a run that was killed wrote of them before is hidden.
        title: for the status line.
    """

    def __init__(self, run: RunFolder, first: int, last: int, title: str) -> None:
        self._run, self._first, self._last = run, first, last
        self._waiting: dict[str, list[float]] = defaultdict(list)
        self._writer: SummaryWriter | None = None
        patience = 5 if sys.stderr.isatty() else 30  # a status line is a line of the log file there
        silent = not distributed.is_main() or first > last
        self._bar = tqdm(
            desc=title, initial=first - 1, total=last, mininterval=patience, maxinterval=patience, disable=silent
        )

    def __enter__(self) -> "TrainLogger":
        if distributed.is_main():
            self._run.start(self._first - 1)
        if distributed.is_main() and self._first <= self._last:
            self._writer = SummaryWriter(str(self._run.path / TENSORBOARD), purge_step=self._first, flush_secs=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._writer:
            self._writer.close()

    def steps(self) -> Iterator[int]:
        """Numbers of the steps to make."""
        for step in range(self._first, self._last + 1):
            yield step
            self._bar.update()

    def add(self, step: int, row: dict[str, float], write: bool) -> None:
        """Take the numbers of one step.

        Args:
            step: its number.
            row: numbers by name; not every step has every one.
            write: write the means of all rows since the last time, as the row of this step.

        Raises:
            UserError: the disk is full.
        """
        for name, value in row.items():
            self._waiting[name].append(value)
        if not write or not self._writer:
            return
        means = {name: float(np.mean(values)) for name, values in self._waiting.items()}
        self._waiting.clear()
        waiting = means["data_seconds"] / means["seconds"]
        self._bar.set_postfix_str(
            f"{means['samples_per_second']:.3g} samples/s, waiting for data {waiting:.0%}", refresh=False
        )
        try:
            self._run.add_stats({"step": step, **means})
            for name, value in means.items():
                self._writer.add_scalar(_tag(name), value, step)
        except OSError as error:
            raise UserError(f"{self._run.path}: statistics cannot be written ({error.strerror or error})") from error

    def show(self, step: int, sheets: dict[str, np.ndarray]) -> None:
        """Pictures for TensorBoard's tab `images`: uint8 H x W x 3 by name."""
        for name, picture in sheets.items() if self._writer else ():
            self._writer.add_image(f"images/{name}", picture, step, dataformats="HWC")


def _tag(name: str) -> str:
    """TensorBoard's groups: one for each kind of number."""
    if name.startswith(("validation_", "raw_validation_")):
        return "validation/" + name.replace("validation_", "")
    if name.endswith(("gradient_norm", "learning_rate")):
        return f"optimizers/{name}"
    if name.endswith(("seconds", "samples_per_second", "peak_memory_mb")):
        return f"speed/{name}"
    return "pose_response" if name == "pose_response" else f"losses/{name}"


def peak_memory_mb(device: torch.device) -> float:
    """Most memory that this process has had: on the device, or as a whole where that is the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
