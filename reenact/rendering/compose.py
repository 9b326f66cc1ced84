"""Putting the avatar's picture together with other pictures: straight alpha, backgrounds, the driver's own frame.

Pictures of the avatar are float32, S x S x 3 in [0, 1], already multiplied by their matte (S x S), as the generator
makes them. Coordinates of frames are continuous: pixel i covers [i, i + 1).
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from reenact.data.clip import Clip
from reenact.data.images import resize_to
from reenact.data.sequence import frames_of
from reenact.faces.crop_pixels import centre_crop
from reenact.faces.square import Square
from reenact.media.frames import Frame, Media
from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError

THIN = 1 / 4
"""Mattes thinner than this say too little about the colour under them: there it comes from the surroundings."""


def to_bytes(image: np.ndarray) -> np.ndarray:
    """float in [0, 1], clipped to that -> uint8."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def unpremultiply(rgb: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Picture and matte as one image with straight (not multiplied) alpha: uint16, S x S x 4.

    The colour is divided by the matte. Where that is thin (THIN) its quotient is mostly noise, so the colour fades into
    that of the surroundings, which also fills the outside: codecs that halve the resolution of colour, and editors
    that scale, then mix in no black.

    Args:
        rgb: S x S x 3, times the matte.
        matte: S x S.
    """
    alpha = matte[..., None]
    surroundings, weight, width = np.zeros_like(rgb), np.zeros_like(alpha), max(1.0, 0.004 * len(matte))
    for _ in range(3):  # near colours first; wider and wider rings where there are none near
        blurred = cv2.GaussianBlur(matte, (0, 0), width)[..., None]
        mean = cv2.GaussianBlur(rgb, (0, 0), width) / np.maximum(blurred, 1e-6)
        sure = np.clip(blurred / 0.1, 0, 1) * (1 - weight)
        surroundings, weight, width = surroundings + sure * mean, weight + sure, 4 * width
    surroundings /= np.maximum(weight, 1e-6)
    own = np.clip(alpha / THIN, 0, 1)
    colour = own * np.minimum(rgb / np.maximum(alpha, 1e-6), 1) + (1 - own) * np.clip(surroundings, 0, 1)
    return np.rint(np.concatenate([colour, alpha], axis=2).clip(0, 1) * 65535).astype(np.uint16)


def over(rgb: np.ndarray, matte: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The avatar in front of a background of the same size, uint8 S x S x 3: uint8."""
    return to_bytes(rgb + (1 - matte[..., None]) * (background.astype(np.float32) / 255))


# ---- backgrounds --------------------------------------------------------------------------------------------


def backgrounds(background: str, side: int, times: list[float]) -> Iterator[np.ndarray]:
    """What stands behind the avatar at each time: uint8, `side` px square.

    Args:
        background: setting `render.background`.
        side: px.
        times: of the frames, ascending, s.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    if background.startswith("#"):
        colour = np.array([int(background[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
        plain = np.broadcast_to(colour, (side, side, 3))
        yield from (plain for _ in times)
        return
    media = probe(Path(background))
    if media.kind != "video":
        picture = centre_crop(next(read_frames(media)).pixels(), side)
        yield from (picture for _ in times)
        return
    shown, waiting = None, _repeated(media)
    start, image = next(waiting)
    for time in times:
        while start <= time + 1e-6:
            shown = image
            start, image = next(waiting)
        shown = image if shown is None else shown
        yield centre_crop(shown.pixels(), side)


def _repeated(media: Media) -> Iterator[tuple[float, Frame]]:
    """The frames of a video over and over, each with the time at which it is shown, from 0 on without end."""
    begin, step = 0.0, 1 / (media.fps or 25.0)
    while True:
        first, end = None, 0.0
        for frame in read_frames(media):
            first = frame.time if first is None else first
            yield begin + frame.time - first, frame
            end = frame.time - first + (frame.duration or step)
        begin += end


# ---- the driver's own frame ---------------------------------------------------------------------------------


def paste(frame: np.ndarray, rgb: np.ndarray, matte: np.ndarray, square: Square, feather: float) -> np.ndarray:
    """The avatar in the driver's frame, where its crop was cut out.

    Args:
        frame: uint8, H x W x 3.
        rgb, matte: of the avatar.
        square: of the crop in the frame.
        feather: width of the soft seam along the square's border, share of its side.

    Returns:
        uint8, H x W x 3.
    """
    if square.side < len(matte):  # reduced by area means first: warping samples points
        rgb, matte = resize_to(rgb, max(2, round(square.side))), resize_to(matte, max(2, round(square.side)))
    size = len(matte)
    layer = np.dstack([rgb, matte]) * _seam(size, feather)[..., None]
    corners = square.corners()
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, frame.shape[1::-1])
    if (high <= low).any():
        return frame
    # From pixel centres of the avatar (i + 0.5) to those of the window of the frame that the square touches.
    across, down = (corners[1] - corners[0]) / size, (corners[2] - corners[0]) / size
    shift = corners[0] + 0.5 * (across + down) - 0.5 - low
    placed = cv2.warpAffine(
        layer, np.column_stack([across, down, shift]), tuple(int(n) for n in high - low), flags=cv2.INTER_CUBIC
    ).clip(0, 1)
    result = frame.copy()
    window = result[low[1] : high[1], low[0] : high[0]]
    window[:] = over(placed[..., :3], placed[..., 3], window)
    return result


@lru_cache(maxsize=512)
def _seam(size: int, feather: float) -> np.ndarray:
    """Weights of the soft seam, size x size: 0 at the border of the square, 1 from `feather` of its side inwards."""
    away = np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) / (feather * size if feather else 0.5)
    ramp = np.clip(away, 0, 1)
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return np.minimum.outer(ramp, ramp)


# ---- the person ---------------------------------------------------------------------------------------------


def typical_photo(clip: Clip) -> np.ndarray:
    """A training picture of a person in a usual pose: uint8 S x S x 3.

    Of the quarter that is nearest to the median of the landmarks, the one with the widest eyes.

    Raises:
        UserError: the clip has no picture to train on.
    """
    table = frames_of(clip, "train")
    if table.empty:
        raise UserError(f"{clip.path}: no picture of role train; these are not an identity's crops")
    rows = pd.Index(clip.table["index"]).get_indexer(table["index"])
    marks = clip.landmarks()[rows]
    known = np.flatnonzero(np.isfinite(marks).all(axis=(1, 2)))
    if not len(known):
        return clip.image(table["image"].iloc[len(table) // 2])
    distance = np.abs(marks[known] - np.median(marks[known], axis=0)).mean(axis=(1, 2))
    usual = known[np.argsort(distance, kind="stable")[: -(-len(known) // 4)]]
    eyes = marks[usual][:, 36:48].reshape(-1, 2, 6, 2)
    height = np.linalg.norm(eyes[:, :, 1:3].mean(axis=2) - eyes[:, :, 4:6].mean(axis=2), axis=-1)
    width = np.linalg.norm(eyes[:, :, 0] - eyes[:, :, 3], axis=-1)
    opening = (height / np.maximum(width, 1e-6)).min(axis=1)
    return clip.image(table["image"].iloc[int(usual[np.argmax(opening)])])
