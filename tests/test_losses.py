"""Loss terms against values worked out by hand."""

import math

import pytest
import torch

from reenact.losses import dice, hinge_discriminator, hinge_generator


def test_hinge():
    fake, real = torch.tensor([-2.0, 0.5]), torch.tensor([2.0, 0.0])
    assert hinge_generator(fake).item() == pytest.approx(0.75)
    assert hinge_discriminator(fake, real).item() == pytest.approx((0 + 1.5) / 2 + (0 + 1) / 2)


def test_dice():
    ones, half = torch.ones(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5)
    assert dice(ones, ones).item() == pytest.approx(0, abs=1e-6)
    assert dice(half, ones).item() == pytest.approx(-math.log(2 * 0.5 / (0.25 + 1)), abs=1e-5)
    assert dice(torch.zeros_like(ones), ones).item() > 10
