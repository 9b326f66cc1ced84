"""Forward warping with depth: a surface's points are thrown into the picture, and the nearest of them is seen.

Softmax splatting [Niklaus and Liu, CVPR 2020], weighed by depth in place of a learned importance.
"""

import torch
from torch import Tensor
from torch.nn import functional

SHARPNESS = 100.0
"""Of the choice by depth: a point that lies a hundredth of the side behind another weighs e times less."""


def splat(places: Tensor, depth: Tensor, values: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """What is seen of points.

    Args:
        places: B x N x 2, x and y as fractions of the picture's side.
        depth: B x N, away from the camera, fractions of the side.
        values: B x N x C, what the points carry.
        side: of the picture, px.

    Returns:
        Means of the values B x C x side x side, zero where nothing landed; and coverage B x 1 x side x side: how many
        points landed there.
    """
    batch, _, channels = values.shape
    at = places * side - 0.5
    corner = at.floor()
    inside = at - corner
    nearness = torch.exp((-depth).clamp(-0.6, 0.6) * SHARPNESS)
    numbers = torch.cat([values * nearness[..., None], nearness[..., None], torch.ones_like(depth)[..., None]], 2)
    picture = numbers.new_zeros(batch, (side + 2) * (side + 2), channels + 2)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[..., 0] + dx, corner[..., 1] + dy
            weight = (inside[..., 0] if dx else 1 - inside[..., 0]) * (inside[..., 1] if dy else 1 - inside[..., 1])
            # A border of one pixel takes what falls outside.
            index = (y.clamp(-1, side) + 1) * (side + 2) + x.clamp(-1, side) + 1
            picture.scatter_add_(1, index.long()[..., None].expand(-1, -1, channels + 2), numbers * weight[..., None])
    picture = picture.view(batch, side + 2, side + 2, channels + 2)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    means, total, coverage = picture.split([channels, 1, 1], 1)
    return means / total.clamp_min(1e-30), coverage


def fill(values: Tensor, known: Tensor) -> Tensor:
    """Carry values into where nothing is known, from ever coarser means.

    Args:
        values: B x C x S x S.
        known: B x 1 x S x S, 0 or 1.
    """
    sums, weights = [values * known], [known]
    while sums[-1].shape[-1] > 4:
        sums.append(functional.avg_pool2d(sums[-1], 2))
        weights.append(functional.avg_pool2d(weights[-1], 2))
    filled = sums[-1].sum((2, 3), keepdim=True) / weights[-1].sum((2, 3), keepdim=True).clamp_min(1e-6)
    filled = filled.expand_as(sums[-1])
    for total, weight in zip(reversed(sums), reversed(weights), strict=True):
        if filled.shape[-1] != total.shape[-1]:
            filled = functional.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)
        share = weight.clamp(0, 1)
        filled = share * (total / weight.clamp_min(1e-6)) + (1 - share) * filled
    return filled
