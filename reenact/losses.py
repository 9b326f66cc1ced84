"""Adversarial and matte losses (section 3 of the paper); the others live beside their networks."""

from torch import Tensor
from torch.nn import functional


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of the generator: scores B -> scalar."""
    return -fake.mean()


def hinge_discriminator(fake: Tensor, real: Tensor) -> Tensor:
    """Hinge loss of the discriminator: scores B and B -> scalar, at least 0."""
    return functional.relu(1 + fake).mean() + functional.relu(1 - real).mean()


def dice(matte: Tensor, target: Tensor) -> Tensor:
    """-log of the Dice coefficient of two mattes B x 1 x H x W in [0, 1], taken over the whole batch; 0 when equal."""
    overlap = 2 * (matte * target).sum()
    return -((overlap + 1e-6) / (matte.square().sum() + target.square().sum() + 1e-6)).log()
