"""The training that meta-learning and fine-tuning share, of both families, step by step."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reenact.data.rank_batch import StepBatchT
from reenact.models.family import Model
from reenact.models.precision import lay_out
from reenact.runtime.errors import InterruptedRun, UserError
from reenact.runtime.interruption import Interruption
from reenact.runtime.utilization import Utilization
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import SIDES, Learner
from reenact.training.objective import Objective

VALIDATION_ERROR = "validation_perceptual"
"""The number of a validation by which the best checkpoint is chosen; less is better."""

NOT_COUNTED = nullcontext()


class Monitor(Protocol):
    """Who watches a training and changes nothing of it (`reenact.monitoring`). Only rank 0 asks it."""

    def log(self, step: int, numbers: dict[str, float], write: bool) -> None:
        """Take the numbers of one step; write = of all steps since the last time, as a row of the statistics."""

    def measure(self, step: int, learner: Learner, validate: bool) -> dict[str, float]:
        """Numbers about the networks after a step, by name; validate = all of them, else those that cost little."""


def train(
    learner: Learner,
    batches: Callable[[int], StepBatchT],
    run: RunFolder,
    steps: int,
    *,
    objective: Objective[StepBatchT],
    device: torch.device,
    monitor: Monitor,
    max_hours: float = math.inf,
    on_step: Mapping[int, Callable[[Model], None]] | None = None,
) -> None:
    """Train up to step `steps`.

    All that is random in a step follows from the seed and the step's number, and optimizers and averages are
    in the checkpoint, so a run that was killed and goes on gives the same weights as one that was not; in other
    numbers of processes too, up to rounding. Rank 0 alone writes, measures and validates.

    Args:
        learner: networks and optimizers after the last step that was made.
        batches: step -> the samples of it that this rank works on, always the same for the same step.
        run: where checkpoints go.
        steps: number of the last step.
        objective: what is learned by.
        device: where to train.
        monitor: who logs and validates.
        max_hours: training ends, as after the last step, once it has taken so long, all runs together.
        on_step: step -> what to do with the average after it.

    Raises:
        UserError: a loss or gradient is not finite; names it, the step and the people. Or the disk is full.
        InterruptedRun: a signal (`interruption.SIGNALS`) came; everything is saved.
    """
    settings, on_step = learner.settings, on_step or {}
    learner.prepare(device)
    objective.to(device)
    if learner.settings.channels_last:
        lay_out(objective)
    utilization = Utilization(device, learner.precision, settings.compile)
    if distributed.is_main():
        run.start(learner.step)
        ceiling = f"MFU is the share of {utilization.ceiling / 1e9:.0f} GFLOP/s, this machine's ceiling"
        for line in [*objective.described, f"precision: {learner.precision}, {ceiling}"]:
            print(f"{run.path.name}: {line}", flush=True)

    began = time.monotonic() - learner.seconds
    with Interruption() as interruption:
        for step in range(learner.step + 1, steps + 1):
            # Sample, augment: the same whoever asks.
            started = time.monotonic()
            torch.manual_seed(settings.seed * 1_000_003 + step)
            batch = batches(step)
            waited = time.monotonic() - started
            batch = objective.augment(batch.to(device))

            # Forward, losses, backward: one forward pass gives the gradients of both sides. Update, average: after it.
            counting = utilization.counting(step % objective.period)
            losses = backward(learner, batch.micro_batches(), objective, counting)
            gradient_norms = average_gradients(learner)
            numbers = _to_floats(losses | gradient_norms)
            _check_finite(numbers, step, batch.names)
            update(learner)
            seconds = time.monotonic() - started
            if step in on_step:
                on_step[step](learner.average)

            # Is it the last step: by number, by time, or by a signal to any rank?
            learner.seconds = time.monotonic() - began
            flags = [learner.seconds > max_hours * 3600, bool(interruption.stop_requested)]
            late, stop_requested = distributed.any_rank(flags, device)
            last = late or step == steps
            validate = last or step % settings.validate_every == 0
            save = validate or stop_requested or step % settings.checkpoint_every == 0

            # Validate, log, checkpoint: by rank 0, while the others wait in their next exchange.
            if distributed.is_main():
                speed = {"seconds": seconds, "data_seconds": waited, "samples_per_second": batch.batch_size / seconds}
                numbers |= learner.learning_rates() | speed | utilization.numbers(step % objective.period, seconds)
                numbers |= monitor.measure(step, learner, validate) if save else {}
                monitor.log(step, numbers, write=save or step % settings.log_every == 0)
                if save:
                    run.save(step, learner.state_dict())
                    run.keep_best(step, numbers.get(VALIDATION_ERROR, math.nan))
            if last:
                return
            if stop_requested:
                distributed.barrier()  # a rank that leaves may end the others: not before the checkpoint is there
                reason = interruption.stop_requested or "another process was asked to stop"
                raise InterruptedRun(
                    f"{run.path.name}: {reason}: saved step {step} of {steps}; the same command goes on from there"
                )


def backward(
    learner: Learner,
    micro_batches: Sequence[StepBatchT],
    objective: Objective[StepBatchT],
    counting: AbstractContextManager[Any] = NOT_COUNTED,
) -> dict[str, Tensor]:
    """Gradients of the networks, and of the discriminator, from one forward pass of each micro-batch.

    Args:
        learner: gets this rank's gradients, averaged over its micro-batches.
        micro_batches: of which memory holds one at a time.
        objective: what is learned by.
        counting: entered around each forward pass (`Utilization.counting`).

    Returns:
        Means over the whole batch, scalars: every weighted loss term of the generator's side, and the discriminator's
        loss as `discriminator`.
    """
    for optimizer in learner.optimizers:
        optimizer.zero_grad(set_to_none=True)
    found: dict[str, list[Tensor]] = {}
    device = next(learner.reenactor.parameters()).device
    for batch in micro_batches:
        with counting, torch.autocast(device.type, torch.bfloat16, enabled=learner.precision == "bf16"):
            terms, discriminator_loss = objective(learner, batch)
        (torch.stack(list(terms.values())).sum() / len(micro_batches)).backward()
        if discriminator_loss is not None:
            (discriminator_loss / len(micro_batches)).backward()
            terms["discriminator"] = discriminator_loss
        for name, value in terms.items():
            found.setdefault(name, []).append(value.detach())
    losses = distributed.all_reduce_mean(torch.stack([torch.stack(values).mean() for values in found.values()]))
    return dict(zip(found, losses, strict=True))


def average_gradients(learner: Learner) -> dict[str, Tensor]:
    """Average the gradients over ranks; returns their 2-norms, `gradient_norm` and `discriminator_gradient_norm`.

    Longer ones than the settings allow are then shortened.
    """
    norms = {}
    for side, optimizer in zip(SIDES, learner.optimizers, strict=False):
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if parameters:
            distributed.average_gradients(parameters)
            norm = norms[f"{side}gradient_norm"] = nn.utils.get_total_norm([p.grad for p in parameters])
            if learner.settings.max_gradient_norm is not None:
                nn.utils.clip_grads_with_norm_(parameters, learner.settings.max_gradient_norm, norm)
    return norms


def update(learner: Learner) -> None:
    """One step of both optimizers, then of the moving average, whose buffers are copied, as published."""
    learner.step += 1
    multiplier = learner.schedule(learner.step)
    for optimizer in learner.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = multiplier * group["initial_lr"]
        optimizer.step()
    learner.ema.update_parameters(learner.reenactor)


def _to_floats(numbers: dict[str, Tensor]) -> dict[str, float]:
    """Scalars of one device, with one wait for it."""
    return dict(zip(numbers, torch.stack(list(numbers.values())).tolist(), strict=True))


def _check_finite(numbers: dict[str, float], step: int, names: Sequence[str]) -> None:
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        losses = [name for name in bad if not name.endswith("gradient_norm")]
        what = f"loss {', '.join(losses)}" if losses else ", ".join(bad)
        people = ", ".join(sorted(set(distributed.all_gather(list(names)))))
        raise UserError(
            f"step {step}: {what} is not finite, on clips {people}; "
            "lower the learning rate (meta.resume goes on from the last checkpoint with it), or try another seed"
        )
