"""What a training run says about itself: stats.jsonl, TensorBoard, and a status line with the time left."""

import sys
from collections import defaultdict
from types import TracebackType

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from reenact.monitoring.validation import Validation
from reenact.runtime.errors import UserError
from reenact.runtime.progress import Reporter
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner

TENSORBOARD = "tensorboard"
"""Folder in the run folder; `tensorboard --logdir results/runs` finds those of all runs."""


class TrainLogger:
    """The same numbers into stats.jsonl and TensorBoard: a `reenact.training.loop.Monitor`. Use it as a context
    manager.

    Ranks other than 0 have one too, which is silent.

    Args:
        run: folder of the run.
        first, last: steps that are about to be made; what a run that was killed wrote of them before is hidden.
        title: for the status line.
        device: where the training runs.
        validation: measures and shows what is learned; None = only what the training itself says is logged.
    """

    def __init__(
        self,
        run: RunFolder,
        first: int,
        last: int,
        title: str,
        device: torch.device,
        validation: Validation | None = None,
    ) -> None:
        self._run, self._first, self._device, self._validation = run, first, device, validation
        self._waiting: dict[str, list[float]] = defaultdict(list)
        self._writer: SummaryWriter | None = None
        self._silent = not distributed.is_main() or first > last
        patience = 5 if sys.stderr.isatty() else 30  # a status line is a line of the log file there
        self._bar = tqdm(
            desc=title, initial=first - 1, total=last, mininterval=patience, maxinterval=patience, disable=self._silent
        )

        self._reporter = None if self._silent else Reporter(title, last, "step", done=first - 1)

    def __enter__(self) -> "TrainLogger":
        if not self._silent:
            self._writer = SummaryWriter(str(self._run.path / TENSORBOARD), purge_step=self._first, flush_secs=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._writer:
            self._writer.close()

    def measure(self, step: int, learner: Learner, validate: bool) -> dict[str, float]:
        """Numbers about the networks after a step, by name.

        Args:
            step: its number.
            learner: after it.
            validate: all that validation finds, and its pictures; else the pose response alone.
        """
        if self._validation is None:
            return {}
        numbers = self._validation.pose_response(learner.average)
        if validate:
            found, sheets = self._validation(learner)
            numbers |= found
            if self._writer is not None:
                for name, picture in sheets.items():
                    self._writer.add_image(f"images/{name}", picture, step, dataformats="HWC")
        return numbers

    def log(self, step: int, numbers: dict[str, float], write: bool) -> None:
        """Take the numbers of one step.

        Args:
            step: its number.
            numbers: by name; not every step has every one.
            write: write the means of all numbers since the last time, as the row of this step.

        Raises:
            UserError: the disk is full.
        """
        self._bar.update()
        if self._reporter:
            self._reporter.at(step)
        for name, value in {**numbers, "peak_memory_mb": peak_memory_mb(self._device)}.items():
            self._waiting[name].append(value)
        if not write or not self._writer:
            return
        means = {name: float(np.mean(values)) for name, values in self._waiting.items()}
        self._waiting.clear()
        waiting = means["data_seconds"] / means["seconds"]
        shown = [f"{means['samples_per_second']:.3g} samples/s", f"waiting for data {waiting:.0%}"]
        if "mfu" in means:
            shown.append(f"MFU {means['mfu']:.0%}")
        self._bar.set_postfix_str(", ".join(shown), refresh=False)
        try:
            self._run.add_stats({"step": step, **means})
            for name, value in means.items():
                self._writer.add_scalar(_tag(name), value, step)
        except OSError as error:
            raise UserError(f"{self._run.path}: statistics cannot be written ({error.strerror or error})") from error


def _tag(name: str) -> str:
    """TensorBoard's groups: one for each kind of number."""
    if name.startswith(("validation_", "raw_validation_")):
        return "validation/" + name.replace("validation_", "")
    if name.endswith(("gradient_norm", "learning_rate")):
        return f"optimizers/{name}"
    if name.endswith(("seconds", "samples_per_second", "mfu", "peak_memory_mb")):
        return f"speed/{name}"
    return "pose_response" if name == "pose_response" else f"losses/{name}"


def peak_memory_mb(device: torch.device) -> float:
    """Most memory that this process has had: on the device, or as a whole where that is the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
