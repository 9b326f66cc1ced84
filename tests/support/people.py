"""Synthetic people for tests of training: a disc on black whose place is the pose and whose colour the identity."""

from pathlib import Path

import numpy as np
import pandas as pd

from reenact.data.clip import write_clip

COLOURS = {"red": (220, 60, 40), "green": (50, 200, 80), "blue": (60, 90, 230)}


def disc(colour: tuple[int, int, int], x: float, y: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture on a grey background and matte; x and y are shares of the size."""
    rows, columns = np.mgrid[:size, :size] / size
    matte = np.clip((0.25 - np.hypot(columns - x, rows - y)) * size / 2, 0, 1)
    picture = matte[..., None] * np.array(colour) + (1 - matte[..., None]) * 90
    return picture.astype(np.uint8), (255 * matte).astype(np.uint8)


def write_person(
    folder: Path, name: str, frames: int, size: int = 64, holdout: int = 0, landmarks: bool = False
) -> tuple[Path, Path]:
    """Crops and mattes of one synthetic person, as the stages write them; landmarks, if wanted, lie inside the disc."""
    crops, mattes = folder / name / "crops.zip", folder / name / "mattes.zip"
    rows, points = [], []
    face = np.random.default_rng(0).uniform(-0.15, 0.15, (68, 2))
    with write_clip(crops) as crop_clip, write_clip(mattes) as matte_clip:
        for index in range(frames):
            angle = 2 * np.pi * index / max(frames, 2)
            picture, matte = disc(COLOURS[name], 0.5 + 0.2 * np.cos(angle), 0.5 + 0.2 * np.sin(angle), size)
            image = f"{index:06d}.png"
            crop_clip.add(image, picture)
            matte_clip.add(image, matte)
            role = "holdout" if index >= frames - holdout else "train"
            points.append(face + np.array([0.5 + 0.2 * np.cos(angle), 0.5 + 0.2 * np.sin(angle)]))
            rows.append({"index": index, "time": index / 25, "role": role, "image": image})
        if landmarks:
            crop_clip.add_landmarks(np.array(points))
        crop_clip.finish(pd.DataFrame(rows))
        matte_clip.finish(pd.DataFrame(rows))
    return crops, mattes
