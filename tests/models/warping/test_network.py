"""The refiner is told what a face does, and looks at it between the lips."""

import pytest
import torch

from reenact.models.warping.network import GIVEN, Refiner, around

SIDE, EXPRESSIONS = 64, 5


@pytest.fixture(scope="module")
def refiner():
    torch.manual_seed(0)
    made = Refiner(EXPRESSIONS, (8, 8, 8, 8))
    with torch.no_grad():
        for weights in made.parameters():  # the last layers begin at 0
            weights.add_(0.2 * torch.randn_like(weights))
    return made.eval()


def changes(refiner, inside):
    """How much another expression changes the matte of each pixel: SIDE x SIDE."""
    given = torch.rand(1, 2, GIVEN, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    rest = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
    with torch.no_grad():
        mattes = [refiner(given, inside, value * torch.ones(1, EXPRESSIONS), *rest)["matte"] for value in (-1, 4)]
    return (mattes[0] - mattes[1]).abs()[0, 0]


def test_what_a_face_does_changes_nothing_while_its_lips_are_shut(refiner):
    assert changes(refiner, torch.zeros(1, 1, SIDE, SIDE)).max() == 0


def test_what_a_face_does_changes_what_lies_between_its_lips(refiner):
    inside = torch.zeros(1, 1, SIDE, SIDE)
    inside[..., 44:52, 28:40] = 1
    change = changes(refiner, inside)
    assert change[44:52, 28:40].mean() > 10 * change[:16].mean()


def test_a_mask_grows_by_a_pixel():
    inside = torch.zeros(1, 1, 16, 16)
    inside[..., 8:10, 8:10] = 1
    assert around(inside, 2).sum() == 9 and around(inside, 2)[0, 0, 3:6, 3:6].min() == 1
