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
from reenact.media.frames import Media
from reenact.media.probe import listed_frames
from reenact.provenance.stamp import Stamp
from reenact.rendering.compose import backgrounds, over, paste, to_bytes, unpremultiply
from reenact.rendering.encode import VideoWriter, write_alpha_video, write_video
from reenact.rendering.pipeline import prefetch
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_folder
from reenact.settings.render import RenderSettings

TIMES = "times.csv"
PREFETCHED = 8
"""Frames of a driver or background that may be decoded ahead of the avatar's."""


@dataclass(frozen=True)
class RenderedFrame:
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

    def resized(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """The avatar's RGB and matte, `side` px."""
        return resize_to(self.rgb, side), resize_to(self.matte, side)


@dataclass(frozen=True)
class Scene:
    """What outputs need besides the avatar's pictures.

    Attributes:
        settings: of stage render.
        table: the driver's frames, in order.
        media: the driver's video, for the output `pasted`.
        photo: the person, uint8 H x H x 3, for the output `side_by_side`.
        stamp: what frames and metadata say; None = nothing.
    """

    settings: RenderSettings
    table: pd.DataFrame
    media: Media | None = None
    photo: np.ndarray | None = None
    stamp: Stamp | None = None


def write_avatar(frames: Iterator[RenderedFrame], target: Path, scene: Scene) -> None:
    """The avatar on black."""
    side = scene.settings.height
    with _mp4(target, side, side, scene) as video:
        for frame in frames:
            video.add(to_bytes(resize_to(frame.rgb, side)), frame.row.time, frame.row.duration)


def write_side_by_side(frames: Iterator[RenderedFrame], target: Path, scene: Scene) -> None:
    """From left to right: the person (where known), the driver, the avatar."""
    side = scene.settings.height
    left = [] if scene.photo is None else [resize_to(scene.photo, side)]
    with _mp4(target, (len(left) + 2) * side, side, scene) as video:
        for frame in frames:
            panels = [*left, resize_to(frame.crop, side), to_bytes(resize_to(frame.rgb, side))]
            video.add(np.concatenate(panels, axis=1), frame.row.time, frame.row.duration)


def write_alpha(frames: Iterator[RenderedFrame], target: Path, scene: Scene) -> None:
    """The avatar with straight alpha, as a transparent video."""
    side = scene.settings.height
    with write_alpha_video(target, side, side, scene.settings.alpha, scene.stamp) as video:
        for frame in frames:
            video.add(unpremultiply(*frame.resized(side)), frame.row.time, frame.row.duration)


def write_frames(frames: Iterator[RenderedFrame], target: Path, scene: Scene) -> None:
    """A folder with one PNG a frame, RGB with straight alpha, named by the driver's frame, and their times (s)."""
    rows, side = [], scene.settings.height
    mark = scene.stamp.marker(side, side) if scene.stamp else None
    with atomic_folder(target) as folder:
        for frame in frames:
            name = f"{frame.row.index:06d}.png"
            image = np.rint(unpremultiply(*frame.resized(side)) / 257).astype(np.uint8)
            image = mark(image, frame.row.time) if mark else image
            _, data = cv2.imencode(".png", image[..., [2, 1, 0, 3]], [cv2.IMWRITE_PNG_COMPRESSION, 3])
            (folder / name).write_bytes(data.tobytes())
            times = {"time": frame.row.time, "duration": frame.row.duration}
            rows.append({"image": name, "index": frame.row.index, **times})
        pd.DataFrame(rows).to_csv(folder / TIMES, index=False)


def write_on_background(frames: Iterator[RenderedFrame], target: Path, scene: Scene) -> None:
    """The avatar in front of a colour, an image or a video."""
    side = scene.settings.height
    behind = prefetch(backgrounds(scene.settings.background, side, scene.table["time"].tolist()), PREFETCHED)
    with closing(behind), _mp4(target, side, side, scene) as video:
        for frame, background in zip(frames, behind, strict=True):
            video.add(over(*frame.resized(side), background), frame.row.time, frame.row.duration)


def write_pasted(frames: Iterator[RenderedFrame], target: Path, scene: Scene) -> None:
    """The avatar in the driver's own frames, at the place of the crops."""
    media = scene.media
    if media is None:
        raise ValueError("pasted needs the driver's video (Scene.media)")
    first = scene.table.iloc[0]
    width, height = (int(first[f"frame_{side}"]) // 2 * 2 for side in ("width", "height"))
    driver = prefetch((frame.pixels() for _, frame in listed_frames(media, scene.table)), PREFETCHED)
    with closing(driver), _mp4(target, width, height, scene) as video:
        for frame, image in zip(frames, driver, strict=True):
            if (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2) != (width, height):
                raise UserError(
                    f"{media.path}: frame {frame.row.index} is {image.shape[1]} x {image.shape[0]} px, the first "
                    f"was {width} x {height}; pasted needs frames of one size, take it out of render.outputs"
                )
            pasted = paste(image, frame.rgb, frame.matte, square_of(frame.row), scene.settings.feather)
            video.add(pasted[:height, :width], frame.row.time, frame.row.duration)


WRITERS = {
    "avatar": write_avatar,
    "side_by_side": write_side_by_side,
    "alpha": write_alpha,
    "frames": write_frames,
    "on_background": write_on_background,
    "pasted": write_pasted,
}
"""Output of `RenderSettings.outputs` -> what writes it."""


def _mp4(target: Path, width: int, height: int, scene: Scene) -> AbstractContextManager[VideoWriter]:
    chosen = scene.settings
    return write_video(target, width, height, chosen.crf, chosen.preset, chosen.encoder, chosen.pix_fmt, scene.stamp)
