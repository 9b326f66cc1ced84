"""One batch, worked on by several processes in several pieces, so that its result is that of one process up to rounding.

Samples have numbers within the step's whole batch. Whatever is random belongs to a number, not to a process: it is drawn for the
whole batch from the step's seed, everywhere alike, and each process takes its own share. What looks at several samples at once (batch
norms, Dice) sees those of all processes. Pieces (gradient accumulation) are the one thing that results depend on, as
everywhere: batch norms and Dice see one piece at a time.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from reenact import processes
from reenact.errors import UserError


@dataclass(frozen=True)
class Share:
    """Samples of a step's batch that this process works on.

    Attributes:
        numbers: of them, from 0, in the order of the pieces.
        total: samples in the whole batch.
        pieces: how many turns it takes (gradient accumulation).
    """

    numbers: list[int]
    total: int
    pieces: int = 1


def own_share(total: int, pieces: int = 1) -> Share:
    """The share of this process: of each piece of the batch an equal part.

    Raises:
        UserError: they cannot be shared equally.
    """
    parts = pieces * processes.count()
    if total % parts:
        raise UserError(
            f"meta.batch_size: {total} samples cannot be shared by {processes.count()} processes in {pieces} pieces; a multiple of {parts} can"
        )
    part = total // parts
    starts = [(piece * processes.count() + processes.rank()) * part for piece in range(pieces)]
    return Share([start + i for start in starts for i in range(part)], total, pieces)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the samples of all processes. (torch's SyncBatchNorm wants GPUs.)"""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or processes.count() == 1:
            return super().forward(x)
        # In float32, and about the running mean: E[x^2] - E[x]^2 would cancel.
        wide, shift = x if x.dtype == torch.float64 else x.float(), self.running_mean
        variance, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        mean, square = processes.mean(torch.stack([mean, variance + (mean - shift).square()]))
        variance = square - (mean - shift).square()
        self._follow(mean.detach(), variance.detach(), processes.count() * prod(x.shape) / x.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        offset = self.bias - mean * scale
        return (wide * scale[:, None, None] + offset[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, values: float) -> None:
        """Move the running statistics, with the unbiased variance, as torch does."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * values / (values - 1), self.momentum)


class SharedDropout(nn.Dropout):
    """Dropout whose mask is drawn for the samples of all processes, each of which takes its own part: B x F."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        mask = torch.rand(processes.count() * len(x), *x.shape[1:], device=x.device) >= self.p
        return x * mask.chunk(processes.count())[processes.rank()] / (1 - self.p)


def share_layers(net: nn.Module) -> None:
    """Let the batch norms and dropouts of a network work on the samples of all processes; names and weights stay. In place."""
    shared = {nn.BatchNorm2d: SharedBatchNorm, nn.Dropout: SharedDropout}
    for module in net.modules():
        if type(module) in shared:
            module.__class__ = shared[type(module)]
