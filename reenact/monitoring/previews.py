"""Pictures of a training run: rows of identities, columns of drivers."""

from pathlib import Path

import cv2
import numpy as np
import torch

from reenact.data.images import to_tensor, to_uint8
from reenact.data.samples import Person
from reenact.data.sequence import spread
from reenact.models.reenactor import Reenactor
from reenact.runtime.files import atomic_write


def spread_frames(person: Person, count: int) -> np.ndarray:
    """Up to `count` frames spread over a clip, each times its matte: uint8 N x S x S x 3."""
    return masked_frames(person, spread(len(person.frames), count))


def masked_frames(person: Person, numbers: list[int]) -> np.ndarray:
    """Frames of a clip by number, each times its matte: uint8 N x S x S x 3."""
    masked = person.frames[numbers] * (person.mattes[numbers][..., None] / 255.0)
    return masked.round().astype(np.uint8)


@torch.no_grad()
def drive_people(net: Reenactor, people: list[Person], drivers: np.ndarray, device: torch.device) -> np.ndarray:
    """Every person following every driving frame.

    Args:
        net: in evaluation mode.
        people: shown as the mean embedding of up to 8 of their frames, or by the network's own embedding.
        drivers: driving frames, uint8 N x S x S x 3.
        device: where `net` is.

    Returns:
        uint8, people x N x S x S x 3.
    """
    pose = net.pose_encoder(to_tensor(drivers).to(device))
    rows = []
    for person in people:
        identity = net.identity_embedding
        if identity is None:
            chosen = spread(len(person.frames), 8)
            identity = net.identity(to_tensor(person.frames[chosen]).to(device)[None])
        rows.append(to_uint8(net.generator(identity.expand(len(pose), -1), pose)[0]))
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
