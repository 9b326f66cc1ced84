"""Clips of crops as stage crop writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reenact.data.clip import write_clip
from reenact.faces.crop_pixels import crop_square
from reenact.faces.crop_table import COLUMNS
from reenact.faces.square import Square
from reenact.media.probe import probe, read_frames


def astronaut_head(media: Path) -> np.ndarray:
    """The head in astronaut.png, uint8 RGB, 256 x 256."""
    return crop_square(next(read_frames(probe(media))).pixels(), Square.from_corner(128, 8, 190), 256)


def write_crops(path: Path, images: list[np.ndarray], **columns: Any) -> Path:
    """A clip of uint8 RGB pictures, with these columns; `extra` images (by name) are stored beside them."""
    extra = columns.pop("extra", {})
    table = pd.DataFrame([dict.fromkeys(COLUMNS, 0) for _ in images])
    table["index"], table["time"], table["duration"] = range(len(images)), np.arange(len(images)) / 25, 0.04
    table["role"], table["status"], table["reason"] = "train", "tracked", ""
    table["image"] = [f"{i:06d}.png" for i in range(len(images))]
    table["matte"] = ""
    table["side"] = table["frame_width"] = table["frame_height"] = 256
    for name, values in columns.items():
        table[name] = values
    with write_clip(path) as writer:
        for name, image in [*zip(table["image"], images, strict=True), *extra.items()]:
            writer.add(name, image)
        writer.finish(table)
    return path
