"""Clips of a real face for the tests: the astronaut of scikit-image, moved about."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from skimage import data

from reenact.data.clip import write_clip

WEIGHTS = Path(__file__).parents[2] / "resources" / "weights" / "dlib_face_recognition_resnet_model_v1.dat"


def portrait(turn: float = 0.0, x: float = 0.0, scale: float = 1.0, size: int = 256) -> np.ndarray:
    """The astronaut's head: uint8 size x size x 3, turned by `turn` degrees and moved by `x` of the picture's width."""
    matrix = cv2.getRotationMatrix2D((223, 115), turn, scale * size / 220)
    matrix[:, 2] += np.array([size / 2 + x * size - 223, size / 2 - 115])
    return cv2.warpAffine(data.astronaut(), matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def oval(size: int = 256) -> np.ndarray:
    """A matte: uint8 size x size, 255 inside an oval that holds the head."""
    matte = np.zeros((size, size), np.uint8)
    return cv2.ellipse(matte, (size // 2, size // 2), (size * 2 // 5, size * 9 // 20), 0, 0, 360, 255, -1)


def swaying(count: int) -> list[np.ndarray]:
    """A head that turns to and fro and moves sideways."""
    phases = 2 * np.pi * np.arange(count) / 12
    return [portrait(turn=12 * np.sin(phase), x=0.04 * np.cos(phase)) for phase in phases]


def write_person(
    folder: Path, frames: list[np.ndarray], roles: list[str], fps: float = 25.0, landmarks: np.ndarray | None = None
) -> tuple[Path, Path]:
    """Write crops.zip and mattes.zip as the stages crop and segment do; every matte is `oval`."""
    names = [f"{index:06d}.png" for index in range(len(frames))]
    table = pd.DataFrame(
        {
            "index": range(len(frames)),
            "time": [i / fps for i in range(len(frames))],
            "source_time": [i / fps for i in range(len(frames))],
            "duration": 1 / fps,
            "role": roles,
            "image": names,
            "status": "tracked",
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    with write_clip(folder / "crops.zip") as crops, write_clip(folder / "mattes.zip") as mattes:
        for name, frame in zip(names, frames, strict=True):
            crops.add(name, frame)
            mattes.add(name, oval(frame.shape[0]))
        if landmarks is not None:
            crops.add_landmarks(landmarks)
        crops.finish(table)
        mattes.finish(table[["index", "time", "role", "image"]].assign(coverage=0.56))
    return folder / "crops.zip", folder / "mattes.zip"
