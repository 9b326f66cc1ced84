"""The training loop that meta-learning and fine-tuning share."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from reenact.data.augment import Augmentation
from reenact.data.rank_batch import RankBatch
from reenact.data.samples import Batch
from reenact.models.reenactor import Reenactor
from reenact.monitoring.train_logger import TrainLogger, peak_memory_mb
from reenact.runtime.errors import InterruptedRun, UserError
from reenact.runtime.interruption import Interruption
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.landmark_network import LandmarkNetwork
from reenact.training.learner import Learner
from reenact.training.losses import ImageLosses
from reenact.training.steps import find_gradients


@dataclass(frozen=True)
class ValidationResult:
    """What validation finds.

    Attributes:
        numbers: by name, for the statistics.
        sheets: pictures by name, uint8 H x W x 3.
        error: less is better; the checkpoint with the least is kept. NaN = none is the best.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    sheets: dict[str, np.ndarray] = field(default_factory=dict)
    error: float = math.nan


def train(
    learner: Learner,
    batches: Callable[[int], Batch],
    run: RunFolder,
    *,
    share: RankBatch,
    names: Sequence[str],
    steps: int,
    max_hours: float = math.inf,
    resume_at_most: int | None = None,
    keep: Sequence[int] = (),
    on_keep: Callable[[int, Reenactor], None] = lambda step, average: None,
    measure: Callable[[Reenactor], dict[str, float]] = lambda average: {},
    validate: Callable[[Learner], ValidationResult] = lambda learner: ValidationResult(),
    landmarks: LandmarkNetwork | None = None,
    device: torch.device,
    title: str = "training",
) -> None:
    """Train up to `steps`, going on from the run folder's last checkpoint.

    All that is random in a step follows from the seed and the step's number, and optimizers and averages are
    in the checkpoint, so a run that was killed and goes on gives the same weights as one that was not; in other
    numbers of processes too, up to rounding. The main process alone writes, measures and validates.

    Args:
        learner: networks and optimizers at their start.
        batches: step -> the samples of it that this process works on (`share`), always the same for the same step.
        run: where checkpoints and statistics go.
        share: of a step's batch that this process works on, in how many pieces.
        names: of the people, by label, for messages.
        steps: number of the last step.
        max_hours: training ends, as after the last step, once it has taken so long, all runs together.
        resume_at_most: checkpoints past this step are not used.
        keep, on_keep: after each of these steps `on_keep(step, average)` is called; it is called again for
            steps past the checkpoint when a run is resumed.
        measure: more statistics about the average, taken at checkpoints.
        validate: numbers and pictures, every `validate_every` steps and at the end.
        landmarks: for the loss of that name.
        device: where to train.
        title: for the status line.

    Raises:
        UserError: a loss or gradient is not finite; names it, the step and the people. Or the disk is full.
        InterruptedRun: a signal (`interruption.SIGNALS`) came; everything is saved.
    """
    settings = learner.settings
    learner.settle(device)
    saved = run.latest(steps if resume_at_most is None else resume_at_most)
    if saved:
        learner.load_state(saved[1])
        _say(f"{title}: resuming from step {learner.step} of {steps} ({run.path})")
    if len(set(distributed.all_gather([learner.step]))) > 1:
        raise UserError(
            f"{run.path}: processes see different checkpoints in it; it must lie on a disk that all machines share"
        )
    augment = Augmentation(settings.augment).to(device)
    image_losses = ImageLosses(settings, landmarks).to(device)
    for line in image_losses.described:
        _say(f"{title}: {line}")

    began = time.monotonic() - learner.seconds
    with Interruption() as interruption, TrainLogger(run, learner.step + 1, steps, title) as journal:
        for step in journal.steps():
            # The samples of this step, and how they are changed: the same whoever asks.
            started = time.monotonic()
            torch.manual_seed(settings.seed * 1_000_003 + step)
            batch = batches(step)
            waited = time.monotonic() - started
            batch = augment(batch.to(device), share)

            # One forward pass gives the gradients of both sides; both are updated after it, then the average.
            numbers = find_gradients(learner, batch.split(share.micro_batches), image_losses)
            _check_finite(numbers, step, batch, names)
            learner.update()
            learner.step = step
            seconds = time.monotonic() - started

            if step in keep:
                on_keep(step, learner.average)

            # Is it the last step: by number, by time, or by a signal to any process?
            learner.seconds = time.monotonic() - began
            late, told = distributed.any_rank([learner.seconds > max_hours * 3600, bool(interruption.asked)], device)
            done = late or step == steps
            validates = done or step % settings.validate_every == 0
            saves = validates or told or step % settings.checkpoint_every == 0

            # Statistics, pictures, checkpoint: by the main process, while the others wait in their next exchange.
            if distributed.is_main():
                numbers |= learner.rates()
                numbers |= measure(learner.average) if saves else {}
                findings = validate(learner) if validates else ValidationResult()
                numbers |= {
                    "seconds": seconds,
                    "data_seconds": waited,
                    "samples_per_second": share.batch_size / seconds,
                }
                numbers["peak_memory_mb"] = peak_memory_mb(device)
                journal.add(step, numbers | findings.numbers, write=saves or step % settings.log_every == 0)
                journal.show(step, findings.sheets)
                if saves:
                    run.save(step, learner.state())
                    run.keep_best(step, findings.error)
            if done:
                return
            if told:
                distributed.barrier()  # a process that leaves may end the others: not before the checkpoint is there
                why = interruption.asked or "another process was told to stop"
                raise InterruptedRun(
                    f"{title}: {why}: saved step {step} of {steps}; the same command goes on from there"
                )


def _check_finite(numbers: dict[str, float], step: int, batch: Batch, names: Sequence[str]) -> None:
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        losses = [name for name in bad if not name.endswith("gradient_norm")]
        what = f"loss {', '.join(losses)}" if losses else ", ".join(bad)
        people = ", ".join(sorted({names[label] for label in distributed.all_gather(batch.label.tolist())}))
        raise UserError(
            f"step {step}: {what} is not finite, on clips {people}; "
            "lower the learning rate (meta.resume goes on from the last checkpoint with it), or try another seed"
        )


def _say(line: str) -> None:
    if distributed.is_main():
        print(line, flush=True)
