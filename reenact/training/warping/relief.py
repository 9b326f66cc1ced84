"""What a person's photos say of each other: how deep hair, neck and shoulders lie, and how far they follow the head.

A photo alone does not tell, and a rule guesses it (`reenact.models.warping.surface`). Where there are others of the
person, the photos that an avatar keeps are moved to where those have the face, and what is guessed is changed until
they look alike. Photos that took no part say whether it helps; if hair and clothes are other ones in each, it does not.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from reenact.data.images import resize_to, to_tensor
from reenact.models.face_encoder import describe
from reenact.models.family import Pictures
from reenact.models.warping.compose import sample
from reenact.models.warping.expression import Face
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.models.warping.reference import Reference, make_surfaces
from reenact.models.warping.references import looked_at

FEWEST = 4
"""Photos of a person from which on they are asked: every fourth takes no part, and checks."""

GRID = 20
"""Numbers of a relief along a side: smooth, so that no photo is fitted pixel by pixel."""

SIDE = 64
"""Of the pictures that are compared, px."""

STEPS = 80
"""Of each photo that is kept."""

COMPARED = 4
"""Others that a step looks at."""

UNITS = (0.1, 0.5, 1.0)
"""Usual changes of depth (fractions of the side), of how far something goes with the head, and with its place."""

RATE = 0.1
SMOOTH, PULL = 0.05, 0.02
"""Weights of differences between neighbours in a relief, and of all of it."""


def with_relief(avatar: WarpingReenactor, crops: Pictures, mattes: Pictures) -> WarpingReenactor:
    """The avatar, whose photos have the relief that the person's other ones say; of too few photos the avatar itself.

    Args:
        avatar: of these photos, on the CPU.
        crops, mattes: of the person, uint8 S x S x 3 and S x S.
    """
    numbers = looked_at(len(crops))
    if len(numbers) < FEWEST:
        return avatar
    known = avatar.identify(())
    faces = _faces(avatar, [crops[k] for k in numbers])
    wanted = torch.cat([_shown(crops[k], mattes[k]) for k in numbers])
    surfaces = make_surfaces(avatar.face, replace(known, relief=None), SIDE, SIDE)
    checks = torch.arange(len(numbers)) % FEWEST == FEWEST - 1
    relief = fitted(surfaces, _some(faces, ~checks), wanted[~checks])
    checked = _some(faces, checks), wanted[checks]
    for surface, one in zip(surfaces, relief, strict=True):
        one *= distance(surface.with_relief(one), *checked) < distance(surface, *checked)
    return avatar.rebuilt(replace(known, relief=relief)).eval()


def _faces(avatar: WarpingReenactor, crops: Pictures) -> Face:
    """The faces in photos, as their descriptors say them: so they are driven."""
    return avatar.said(torch.from_numpy(describe(avatar.pose_encoder, crops)))


def _shown(crop: np.ndarray, matte: np.ndarray) -> Tensor:
    """A photo as it should look: 1 x 4 x SIDE x SIDE, RGB times matte, and matte."""
    rgb, alpha = (to_tensor([resize_to(picture, SIDE)]) for picture in (crop, matte))
    return torch.cat([rgb * alpha, alpha], 1)


def fitted(surfaces: list[Reference], faces: Face, wanted: Tensor) -> Tensor:
    """Reliefs of surfaces that, moved to faces B x ..., look as wanted, B x 4 x SIDE x SIDE."""
    units = wanted.new_tensor(UNITS)[None, :, None, None]
    found = torch.zeros(len(surfaces), len(UNITS), GRID, GRID, requires_grad=True)
    optimizer = torch.optim.Adam([found], RATE)
    draw, steps = torch.Generator().manual_seed(0), STEPS * len(surfaces)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        number = step % len(surfaces)
        others = torch.randperm(len(wanted), generator=draw)[:COMPARED]
        surface = surfaces[number].with_relief((units * found)[number])
        error = distance(surface, _some(faces, others), wanted[others])
        rough = found[number].diff(dim=1).square().mean() + found[number].diff(dim=2).square().mean()
        optimizer.zero_grad()
        (error + SMOOTH * rough + PULL * found[number].square().mean()).backward()
        optimizer.step()
    return (units * found).detach()


def distance(surface: Reference, faces: Face, wanted: Tensor) -> Tensor:
    """How far a photo that is moved to faces B x ... is from what is wanted, B x 4 x SIDE x SIDE: a scalar."""
    moved = surface.move(faces.shape, faces.head)
    return (sample(moved.shown, moved.flow) * moved.coverage - wanted).abs().mean()


def _some(faces: Face, which: Tensor) -> Face:
    return Face(faces.shape[which], faces.head[which], faces.blendshapes[which])
