"""Frames with landmarks that the pose warm-up learns from: drawn on the CPU, changed on the training device."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reenact.data.training_clips import TrainingClip
from reenact.faces.landmarks import MIRRORED

ROTATION, SCALE, SHIFT = 15.0, 0.15, 0.06
"""Largest turn (degrees), change of scale and shift (fractions of the side) of a frame."""


class PoseSamples:
    """Frames and their landmarks, changed so that what is learned is the place, turn and expression of a face more than
    whose it is.

    Args:
        clips: frames without landmarks are not used.
        device: where the samples are wanted.
    """

    def __init__(self, clips: list[TrainingClip], device: torch.device) -> None:
        known = [(clip, np.flatnonzero(np.isfinite(clip.landmarks).all((1, 2)))) for clip in clips]
        self._known = [(clip, rows) for clip, rows in known if len(rows)]
        self._device = device

    def __bool__(self) -> bool:
        """Whether there is any frame with landmarks."""
        return bool(self._known)

    def mean_face(self) -> Tensor:
        """Mean of the clips' mean landmarks: 68 x 2, fractions of the side."""
        return torch.from_numpy(np.mean([clip.landmarks[rows].mean(0) for clip, rows in self._known], 0))

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Changed frames count x 3 x S x S in [0, 1], and where their landmarks are then, count x 68 x 2 in fractions
        of the side.

        Drawn evenly from the clips, half of them by how unusual the face is. All that is random follows from `seed`.
        """
        random = np.random.default_rng(seed)
        chosen = []
        for number in random.integers(len(self._known), size=count):
            clip, rows = self._known[number]
            chosen.append(
                (
                    clip,
                    random.choice(len(clip.frames), p=clip.pose_deviation)
                    if random.random() < 0.5
                    else random.choice(rows),
                )
            )
        frames, mattes, points = (
            torch.from_numpy(np.stack([getattr(clip, name)[row] for clip, row in chosen])).to(self._device)
            for name in ("frames", "mattes", "landmarks")
        )
        torch.manual_seed(seed)
        images = replace_background(frames.permute(0, 3, 1, 2) / 255.0, mattes[:, None] / 255.0)
        images, points, _ = geometric_augment(images, points)
        return photometric_augment(images), points


def _uniform(like: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """B x shape values for the B rows of `like`."""
    return low + (high - low) * torch.rand(len(like), *shape, device=like.device)


def replace_background(images: Tensor, mattes: Tensor) -> Tensor:
    """Half of B x 3 x S x S in front of black, the next sample, or one colour; mattes B x 1 x S x S."""
    kind = _uniform(images, 0, 1, 1, 1, 1)
    colour = _uniform(images, 0, 1, 3, 1, 1).expand_as(images)
    ground = torch.where(kind < 0.4, images.roll(1, 0) * _uniform(images, 0.5, 1.2, 1, 1, 1), colour)
    ground = torch.where(kind < 0.2, torch.zeros_like(images), ground)
    return torch.where(kind < 0.5, images * mattes + ground * (1 - mattes), images)


def geometric_augment(images: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half of B x 3 x S x S mirrored, all rotated, scaled and shifted; landmarks B x 68 x 2 likewise; and B: whether it
    is mirrored."""
    angle = _uniform(images, -ROTATION, ROTATION) * math.pi / 180
    scale, shift = _uniform(images, 1 - SCALE, 1 + SCALE), _uniform(images, -SHIFT, SHIFT, 2)
    mirrored = _uniform(images, 0, 1) < 0.5
    cos, sin, side = angle.cos(), angle.sin(), torch.where(mirrored, -1.0, 1.0)
    turn = scale[:, None, None] * torch.stack([cos * side, -sin, sin * side, cos], 1).view(-1, 2, 2)
    points = torch.where(mirrored[:, None, None], points[:, MIRRORED], points)
    points = (points - 0.5) @ turn.transpose(1, 2) + 0.5 + shift[:, None]
    # Sampling asks where each pixel comes from, in coordinates from -1 to 1.
    back = torch.linalg.inv(turn)
    grid = functional.affine_grid(
        torch.cat([back, -2 * back @ shift[..., None]], 2), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False), points, mirrored


def photometric_augment(images: Tensor) -> Tensor:
    """B x 3 x S x S in [0, 1] of other colours, some grey, some unsharp, noisy, and some with a rectangle before it."""
    images = images.clamp(0, 1) ** torch.exp(_uniform(images, -0.4, 0.4, 1, 1, 1)) * _uniform(images, 0.7, 1.3, 3, 1, 1)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * torch.where(
        _uniform(images, 0, 1, 1, 1, 1) < 0.15, 0.0, _uniform(images, 0.6, 1.4, 1, 1, 1)
    )
    unsharp = functional.interpolate(
        functional.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear", align_corners=False
    )
    images = torch.where(_uniform(images, 0, 1, 1, 1, 1) < 0.2, unsharp, images)
    images = images + _uniform(images, 0, 0.04, 1, 1, 1) * torch.randn_like(images)
    ramp = torch.arange(images.shape[-1], device=images.device) / images.shape[-1]
    across, down = ((ramp - _uniform(images, 0, 1, 1)).abs() < _uniform(images, 0.05, 0.2, 1) for _ in range(2))
    covered = across[:, None, None] & down[:, None, :, None] & (_uniform(images, 0, 1, 1, 1, 1) < 0.3)
    return torch.where(covered, _uniform(images, 0, 1, 3, 1, 1).expand_as(images), images).clamp(0, 1)
