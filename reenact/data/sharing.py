"""One batch, worked on by several processes in several pieces, so that its result is that of one process up to rounding.

Samples have numbers within the step's whole batch. Whatever is random belongs to a number, not to a process: it is drawn for the
whole batch from the step's seed, everywhere alike, and each process takes its own share. What looks at several samples at once (batch
norms, Dice) sees those of all processes. Pieces (gradient accumulation) are the one thing that results depend on, as
everywhere: batch norms and Dice see one piece at a time.
"""

from dataclasses import dataclass

from reenact.runtime import processes
from reenact.runtime.errors import UserError


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
