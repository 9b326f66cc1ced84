"""Learning rates over a training."""

import math
from collections.abc import Callable

LRSchedule = Callable[[int], float]
"""Number of a step, from 1 -> what the learning rates of the settings are multiplied with in it."""


def constant(step: int) -> float:
    """Learning rates stay as they are."""
    return 1.0


def cosine_decay(steps: int, decay: float) -> LRSchedule:
    """Learning rates that fall to nothing at the end, along half a cosine; above 0 in the last step.

    Args:
        steps: of the training.
        decay: fraction of the steps in which they fall.
    """
    falling = decay * steps

    def multiplier(step: int) -> float:
        """1 until they fall."""
        passed = step - 1 - (steps - falling)
        return 0.5 + 0.5 * math.cos(math.pi * passed / falling) if passed > 0 else 1.0

    return multiplier


def rising(schedule: LRSchedule, steps: int) -> LRSchedule:
    """A schedule whose learning rates rise evenly to their full size over the first `steps`."""

    def multiplier(step: int) -> float:
        """Above 0 in the first step."""
        return schedule(step) * min(1.0, step / steps)

    return multiplier
