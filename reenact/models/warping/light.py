"""Mirror images of photos, as bright as the photos beside them.

Of a head that is lit from one side a mirror image shows the dark side where the light one should be: beside the photo
it looks like a shadow, or half transparent.
"""

import torch
from torch import Tensor
from torch.nn import functional

from reenact.models.warping.reference import SURE
from reenact.models.warping.splat import fill

SEEN = 0.5
"""Coverage from which on a pixel tells how bright the head is there."""

ALIKE = 0.05
"""How far apart the points of a head may be that two photos show in a pixel, in the mean mesh's unit."""

SQUARES, AROUND = 16, 2
"""Squares of the picture along a side, by whose means photos are compared; and how many of them around each count."""

FEW = 0.02
"""Fraction of those squares that must show the same points, or nothing is known there."""

DARKEST, MOST = 0.02, 0.7
"""Brightness that is added before two are compared; and the largest change, as a logarithm."""


def light_of_photos(given: Tensor, mirrored: Tensor) -> Tensor:
    """What the colours of mirror images are multiplied by; 1 for photos.

    Where a mirror image and a photo show the same points of the head, means around them say how much brighter the photo
    is. It is carried on to where the mirror image alone shows anything.

    Args:
        given: B x K x GIVEN x S x S, warped references (`reenact.models.warping.network`).
        mirrored: B x K, 1 for a mirror image.

    Returns:
        B x K x 1 x SQUARES x SQUARES.
    """
    bright, matte, covered, points = given[:, :, :3].mean(2, True), given[:, :, 3:4], given[:, :, 4:5], given[:, :, 5:8]
    flipped = mirrored[:, :, None, None, None]
    known = ((matte > SURE) & (covered > SEEN)).to(given.dtype)
    photos = known * (1 - flipped)
    count = photos.sum(1, keepdim=True)
    wanted, there = ((photos * x).sum(1, keepdim=True) / count.clamp_min(1) for x in (bright, points))
    apart = (points - there).square().sum(2, keepdim=True)
    alike = known * (count > 0) * (apart < ALIKE**2)
    share, own = _around(alike), _around(alike * bright)
    least = DARKEST * share + 1e-6
    change = ((_around(alike * wanted) + least) / (own + least)).log().clamp(-MOST, MOST)
    return (fill(change, (share > FEW).to(given.dtype)).unflatten(0, mirrored.shape) * flipped).exp()


def lit(pictures: Tensor, light: Tensor) -> Tensor:
    """Pictures B x 4 x S x S (RGB times matte, and matte), their colours multiplied by light, B x 1 x T x T."""
    rgb, matte = pictures.split([3, 1], 1)
    light = functional.interpolate(light, matte.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([torch.minimum(rgb * light, matte), matte], 1)


def _around(x: Tensor) -> Tensor:
    """Means of B x K x 1 x S x S around each square: (B K) x 1 x SQUARES x SQUARES."""
    means = functional.avg_pool2d(x.flatten(0, 1), x.shape[-1] // SQUARES)
    return functional.avg_pool2d(means, 2 * AROUND + 1, 1, AROUND)
