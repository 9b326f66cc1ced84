"""Pictures of a training run: rows of identities, columns of drivers."""

from pathlib import Path

import cv2
import numpy as np
import torch

from reenact.data.images import fit, to_tensor, to_uint8
from reenact.data.sequence import spread
from reenact.data.training_clips import TrainingClip
from reenact.models.family import Model
from reenact.runtime.files import atomic_write

KNOWN_BY = 8
"""Frames that show who a person is."""


def spread_frames(clip: TrainingClip, count: int) -> np.ndarray:
    """Up to `count` frames spread over a clip, each times its matte: uint8 N x S x S x 3."""
    return masked_frames(clip, spread(len(clip.frames), count))


def masked_frames(clip: TrainingClip, numbers: list[int]) -> np.ndarray:
    """Frames of a clip by number, each times its matte: uint8 N x S x S x 3."""
    masked = clip.frames[numbers] * (clip.mattes[numbers][..., None] / 255.0)
    return masked.round().astype(np.uint8)


@torch.no_grad()
def drive_people(net: Model, clips: list[TrainingClip], drivers: np.ndarray, device: torch.device) -> np.ndarray:
    """The person of every clip following every driving frame.

    Args:
        net: in evaluation mode.
        clips: whose people are known by up to KNOWN_BY of their frames (`Model.identify`).
        drivers: driving frames, uint8 N x S x S x 3.
        device: where `net` is.

    Returns:
        uint8, clips x N x S x S x 3.
    """
    pose = net.pose_encoder(fit(to_tensor(drivers), net.architecture.pose_size).to(device))
    rows = []
    for clip in clips:
        known = spread(len(clip.frames), KNOWN_BY)
        rows.append(to_uint8(net.show(pose, net.identify(clip.frames[known], clip.mattes[known]))[0]))
    return np.stack(rows)


def grid(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of uint8 N x S x S x 3 images (any N) as one picture, uint8 H x W x 3."""
    width = max(len(row) for row in rows)
    padded = [np.concatenate([row, np.zeros((width - len(row), *row.shape[1:]), np.uint8)]) for row in rows]
    return np.vstack([np.hstack(list(row)) for row in padded])


def write_grid(path: Path, rows: list[np.ndarray]) -> None:
    """Write a `grid` as PNG."""
    with atomic_write(path) as temporary:
        cv2.imwrite(str(temporary), grid(rows)[..., ::-1])


def write_preview(net: Model, clips: list[TrainingClip], path: Path) -> None:
    """Write a picture of what a meta-model makes of people whom it knows by a few frames of a clip.

    Args:
        net: in evaluation mode, on the CPU.
        clips: whose frames drive (first row), and who follow them, one row each.
        path: PNG to write.
    """
    drivers = np.concatenate([spread_frames(clip, 3) for clip in clips])
    driven = drive_people(net, clips, drivers, torch.device("cpu"))
    rows = [np.concatenate([np.zeros_like(drivers[:1]), drivers])]
    rows += [np.concatenate([spread_frames(clip, 1), row]) for clip, row in zip(clips, driven, strict=True)]
    write_grid(path, rows)
