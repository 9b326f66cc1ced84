"""How a step's batch is divided: over the ranks of a training, and within a rank over micro-batches (gradient
accumulation).

The result is that of one process up to rounding. Samples have indices within the whole batch, and whatever is random
belongs to an index, not to a rank: it is drawn for the whole batch from the step's seed, in all ranks alike, and each
rank takes what belongs to its indices. What looks at several samples at once (batch norms, Dice) sees those of all
ranks. Micro-batches are the one thing that results depend on, as everywhere: batch norms and Dice see one micro-batch
at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import TypeVar

import torch
from torch import Tensor

from reenact.runtime.errors import UserError

StepBatchT = TypeVar("StepBatchT", bound="StepBatch")


@dataclass(frozen=True)
class RankBatch:
    """The samples of a step's batch that one rank works on.

    Attributes:
        indices: of them within the whole batch, from 0, one micro-batch behind the other.
        batch_size: samples of the whole batch.
        micro_batches: in how many turns the rank works through its samples.
    """

    indices: list[int]
    batch_size: int
    micro_batches: int = 1


def divide_batch(batch_size: int, micro_batches: int = 1, rank: int = 0, world_size: int = 1) -> RankBatch:
    """An equal part of every micro-batch.

    Args:
        batch_size: samples of the whole batch.
        micro_batches: turns that they are worked through in.
        rank, world_size: which process, of how many.

    Raises:
        UserError: the samples cannot be divided equally.
    """
    parts = micro_batches * world_size
    if batch_size % parts:
        raise UserError(
            f"meta.batch_size: {batch_size} samples cannot be divided among {world_size} processes with "
            f"{micro_batches} micro-batches each; a multiple of {parts} can"
        )
    size = batch_size // parts
    starts = [(micro_batch * world_size + rank) * size for micro_batch in range(micro_batches)]
    return RankBatch([start + i for start in starts for i in range(size)], batch_size, micro_batches)


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """Samples of one step; every tensor of it has a row for each.

    Attributes:
        names: of the people, for messages.
        rank_batch: which samples of the step's whole batch these are; None = all of them.
    """

    names: Sequence[str] = ()
    rank_batch: RankBatch | None = None

    def __len__(self) -> int:
        """Samples that are here."""
        return len(next(iter(self._tensors().values())))

    @property
    def batch_size(self) -> int:
        """Samples of the step's whole batch, of all ranks."""
        return self.rank_batch.batch_size if self.rank_batch else len(self)

    def to(self: StepBatchT, device: torch.device) -> StepBatchT:
        """The same samples on another device."""
        return self._each(lambda value: value.to(device))

    def micro_batches(self: StepBatchT) -> list[StepBatchT]:
        """Its samples in as many equal parts as `rank_batch` says, in order."""
        count = self.rank_batch.micro_batches if self.rank_batch else 1
        size = len(self) // count
        return [self._each(itemgetter(slice(i * size, (i + 1) * size))) for i in range(count)]

    def _tensors(self) -> dict[str, Tensor]:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if isinstance(value, Tensor)}

    def _each(self: StepBatchT, change: Callable[[Tensor], Tensor]) -> StepBatchT:
        return replace(self, **{name: change(value) for name, value in self._tensors().items()})
