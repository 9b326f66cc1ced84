"""What a family learns by: its losses, and how its samples are changed before."""

from abc import ABC, abstractmethod
from typing import Generic

from torch import Tensor, nn

from reenact.data.rank_batch import StepBatchT
from reenact.training.learner import Learner


class Objective(nn.Module, ABC, Generic[StepBatchT]):
    """What `reenact.training.loop.train` asks of a family. Its own networks, such as perceptual ones, learn nothing.

    Attributes:
        described: lines about it for people.
        period: steps after which a step is as much work again.
    """

    described: list[str]
    period = 1

    def augment(self, batch: StepBatchT) -> StepBatchT:
        """The samples as they are learned from; the random state is the step's, the same in all ranks."""
        return batch

    @abstractmethod
    def forward(self, learner: Learner, batch: StepBatchT) -> tuple[dict[str, Tensor], Tensor | None]:
        """One forward pass of all networks.

        Returns:
            Every weighted loss term of what drives, scalars; and the loss of the discriminator, None where there is
            none, or its terms have no weight.
        """
