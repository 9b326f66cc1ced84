"""The kinds of output of stage render: each a function that takes the avatar's pictures one by one and writes them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from reenact.data.images import resize_to
from reenact.faces.square import square_of
from reenact.media.probe import Media, listed_frames
from reenact.rendering.compose import backgrounds, enlarge, over, paste, to_bytes, unpremultiply
from reenact.rendering.encode import VideoWriter, write_alpha_video, write_video
from reenact.rendering.pipeline import ahead
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_folder
from reenact.settings.render import RenderSettings

TIMES = "times.csv"
WAITING = 8
"""Frames of a driver or background that may be decoded ahead of the avatar's."""


@dataclass(frozen=True)
class Shown:
    """One frame of the driver and what the avatar makes of it.

    Attributes:
        row: its row in the driver's table, with index, time, duration and the square.
        crop: of the driver, uint8 H x H x 3.
        rgb, matte: of the avatar, float32 S x S x 3 (times the matte) and S x S, in [0, 1].
    """

    row: Any
    crop: np.ndarray
    rgb: np.ndarray
    matte: np.ndarray


@dataclass(frozen=True)
class Scene:
    """What outputs need besides the avatar's pictures.

    Attributes:
        settings: of stage render.
        table: the driver's frames, in order.
        media: the driver's video, for the output `pasted`.
        photo: the person, uint8 H x H x 3, for the output `side_by_side`.
    """

    settings: RenderSettings
    table: pd.DataFrame
    media: Media | None = None
    photo: np.ndarray | None = None


def write_avatar(shown: Iterator[Shown], target: Path, scene: Scene) -> None:
    """The avatar on black."""
    side = scene.settings.height
    with _mp4(target, side, side, scene.settings) as video:
        for s in shown:
            video.add(to_bytes(enlarge(s.rgb, side)), s.row.time, s.row.duration)


def write_side_by_side(shown: Iterator[Shown], target: Path, scene: Scene) -> None:
    """From left to right: the person (where known), the driver, the avatar."""
    side = scene.settings.height
    left = [] if scene.photo is None else [resize_to(scene.photo, side)]
    with _mp4(target, (len(left) + 2) * side, side, scene.settings) as video:
        for s in shown:
            panels = [*left, resize_to(s.crop, side), to_bytes(enlarge(s.rgb, side))]
            video.add(np.concatenate(panels, axis=1), s.row.time, s.row.duration)


def write_alpha(shown: Iterator[Shown], target: Path, scene: Scene) -> None:
    """The avatar with straight alpha, as a transparent video."""
    side = scene.settings.height
    with write_alpha_video(target, side, side, scene.settings.alpha) as video:
        for s in shown:
            video.add(unpremultiply(enlarge(s.rgb, side), enlarge(s.matte, side)), s.row.time, s.row.duration)


def write_frames(shown: Iterator[Shown], target: Path, scene: Scene) -> None:
    """A folder with one PNG a frame, RGB with straight alpha, named by the driver's frame, and their times (s)."""
    side = scene.settings.height
    rows = []
    with atomic_folder(target) as folder:
        for s in shown:
            name = f"{s.row.index:06d}.png"
            image = np.rint(unpremultiply(enlarge(s.rgb, side), enlarge(s.matte, side)) / 257).astype(np.uint8)
            _, data = cv2.imencode(".png", image[..., [2, 1, 0, 3]], [cv2.IMWRITE_PNG_COMPRESSION, 3])
            (folder / name).write_bytes(data.tobytes())
            rows.append({"image": name, "index": s.row.index, "time": s.row.time, "duration": s.row.duration})
        pd.DataFrame(rows).to_csv(folder / TIMES, index=False)


def write_on_background(shown: Iterator[Shown], target: Path, scene: Scene) -> None:
    """The avatar in front of a colour, an image or a video."""
    side = scene.settings.height
    behind = ahead(backgrounds(scene.settings.background, side, scene.table["time"].tolist()), WAITING)
    with closing(behind), _mp4(target, side, side, scene.settings) as video:
        for s, background in zip(shown, behind):
            video.add(over(enlarge(s.rgb, side), enlarge(s.matte, side), background), s.row.time, s.row.duration)


def write_pasted(shown: Iterator[Shown], target: Path, scene: Scene) -> None:
    """The avatar in the driver's own frames, at the place of the crops."""
    first = scene.table.iloc[0]
    width, height = (int(first[f"frame_{side}"]) // 2 * 2 for side in ("width", "height"))
    frames = ahead((frame.pixels() for _, frame in listed_frames(scene.media, scene.table)), WAITING)
    with closing(frames), _mp4(target, width, height, scene.settings) as video:
        for s, frame in zip(shown, frames):
            if (frame.shape[1] // 2 * 2, frame.shape[0] // 2 * 2) != (width, height):
                raise UserError(
                    f"{scene.media.path}: frame {s.row.index} is {frame.shape[1]} x {frame.shape[0]} px, the first was "
                    f"{width} x {height}; pasted needs frames of one size, take it out of render.outputs"
                )
            pasted = paste(frame, s.rgb, s.matte, square_of(s.row), scene.settings.feather)
            video.add(pasted[:height, :width], s.row.time, s.row.duration)


WRITERS = {
    "avatar": write_avatar,
    "side_by_side": write_side_by_side,
    "alpha": write_alpha,
    "frames": write_frames,
    "on_background": write_on_background,
    "pasted": write_pasted,
}
"""Output of `RenderSettings.outputs` -> what writes it."""


def _mp4(target: Path, width: int, height: int, settings: RenderSettings) -> AbstractContextManager[VideoWriter]:
    return write_video(target, width, height, settings.crf, settings.preset, settings.encoder, settings.pix_fmt)
