"""Mirror images are as bright as the photos beside them."""

import pytest
import torch
from torch import Tensor

from reenact.models.warping.light import SQUARES, light_of_photos, lit
from reenact.models.warping.network import GIVEN

SIDE = 64
BESIDE = torch.tensor([[0.0, 1.0]])
"""A photo, and a mirror image."""


def shown(*brightness: float) -> Tensor:
    """Warped references that show the same head everywhere, each in one tone: 1 x K x GIVEN x SIDE x SIDE."""
    given = torch.zeros(1, len(brightness), GIVEN, SIDE, SIDE)
    given[:, :, :3] = torch.tensor(brightness)[:, None, None, None]
    given[:, :, 3:5] = 1
    return given


def test_a_mirror_image_gets_the_brightness_of_its_photo():
    light = light_of_photos(shown(0.6, 0.4), BESIDE)
    assert light.shape == (1, 2, 1, SQUARES, SQUARES)
    assert (light[:, 0] == 1).all()
    torch.testing.assert_close(light[:, 1], torch.full_like(light[:, 1], 1.5), rtol=0.03, atol=0)
    assert (light_of_photos(shown(0.4, 0.4), BESIDE) - 1).abs().max() < 1e-5


def test_it_is_carried_on_to_where_the_mirror_image_alone_shows_the_head():
    given = shown(0.6, 0.4)
    given[:, 0, 4, :, SIDE // 2 :] = 0
    given[:, 0, :3, :, SIDE // 2 :] = 0
    torch.testing.assert_close(light_of_photos(given, BESIDE)[:, 1].amin(), torch.tensor(1.5), rtol=0.03, atol=0)


@pytest.mark.parametrize("change", ["other points", "soft matte", "nothing lands"])
def test_what_does_not_show_the_same_points_says_nothing(change):
    given = shown(0.6, 0.4)
    channel, value = {"other points": (6, 0.2), "soft matte": (3, 0.5), "nothing lands": (4, 0.0)}[change]
    given[:, 0, channel] = value
    assert (light_of_photos(given, BESIDE) == 1).all()


def test_photos_stay_as_they_are():
    assert (light_of_photos(shown(0.6, 0.4, 0.1), torch.zeros(1, 3)) == 1).all()


def test_colours_are_never_brighter_than_their_matte():
    picture = torch.full((1, 4, 8, 8), 0.5)
    picture[:, :3, :4] = 0.1
    brighter = lit(picture, torch.full((1, 1, 2, 2), 2.0))
    assert (brighter[:, 3] == 0.5).all()
    torch.testing.assert_close(brighter[:, :3, :4], torch.full((1, 3, 4, 8), 0.2))
    assert (brighter[:, :3, 4:] == 0.5).all()
