"""Pictures of a training run: rows of identities, columns of drivers."""

from pathlib import Path

import cv2
import numpy as np
import torch

from reenact.data.images import to_tensor, to_uint8
from reenact.data.people import Person
from reenact.data.sequence import spread
from reenact.models.reenactor import Reenactor, embed_person
from reenact.runtime.files import atomic_write

KNOWN_BY = 8
"""Frames that show who a person is."""


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
        people: known by up to KNOWN_BY of their frames (`embed_person`).
        drivers: driving frames, uint8 N x S x S x 3.
        device: where `net` is.

    Returns:
        uint8, people x N x S x S x 3.
    """
    pose = net.pose_encoder(to_tensor(drivers).to(device))
    rows = []
    for person in people:
        identity = embed_person(net, person.frames[spread(len(person.frames), KNOWN_BY)])
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


def write_preview(net: Reenactor, people: list[Person], path: Path) -> None:
    """Write a picture of what a meta-model makes of people whom it knows by a few frames.

    Args:
        net: in evaluation mode, on the CPU.
        people: whose frames drive (first row), and who follow them, one row each.
        path: PNG to write.
    """
    drivers = np.concatenate([spread_frames(person, 3) for person in people])
    driven = drive_people(net, people, drivers, torch.device("cpu"))
    rows = [np.concatenate([np.zeros_like(drivers[:1]), drivers])]
    rows += [np.concatenate([spread_frames(person, 1), row]) for person, row in zip(people, driven, strict=True)]
    write_grid(path, rows)
