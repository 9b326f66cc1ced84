"""Stage `segment`: mattes, that is, how much of each pixel of a crop belongs to the person in its middle."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reenact.clip import Clip, write_clip
from reenact.faces import quiet_stderr
from reenact.settings.segment import SegmentSettings

with quiet_stderr():
    import cv2
    import numpy as np
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

COLUMNS = ["index", "time", "role", "image", "coverage"]
# Frames further apart than this many standard deviations of the smoothing do not see each other.
_REACH = 2.5
# Pixels that change by about this much (of 255) show something else, and are not smoothed over.
_SAME_COLOUR = 20.0
# The face lies within this ellipse around the middle of the crop (shares of its side), by the way crops are made.
_FACE_WIDTH, _FACE_HEIGHT = 0.16, 0.2


@dataclass(frozen=True)
class _Moment:
    """One frame on its way through the smoothing: row of the table, time (s), raw matte, small copy of the crop."""

    row: int
    time: float
    matte: np.ndarray
    small: np.ndarray


class Segmenter:
    """mediapipe's selfie segmentation (the general model, 256 x 256). Use it as a context manager."""

    def __init__(self) -> None:
        with quiet_stderr():
            self._network = SelfieSegmentation(model_selection=0)
            self._network.process(np.zeros((256, 256, 3), np.uint8))

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(self, *_: object) -> None:
        self._network.close()

    def matte(self, image: np.ndarray) -> np.ndarray:
        """Matte of one picture (uint8 RGB, H x W x 3): float32, H x W, 0 background to 1 person."""
        mask = self._network.process(np.ascontiguousarray(image)).segmentation_mask
        return np.array(mask, np.float32).reshape(image.shape[:2])


def segment_clip(*, crops: Path, mattes: Path, settings: SegmentSettings) -> None:
    """Write one grey image (0 background to 255 person) for each crop, of the same name.

    The table has the columns COLUMNS; coverage is the mean of the matte, 0 to 1. Frames without a crop have none.

    Raises:
        UserError: the crops cannot be read.
    """
    clip = Clip(crops)
    table = clip.table[["index", "time", "role", "image"]].copy()
    table["coverage"] = np.nan
    video = bool((clip.table["duration"] > 0).any())
    with Segmenter() as segmenter, write_clip(mattes) as writer:
        moments = _moments(clip, segmenter)
        sigma = settings.smoothing if video else 0.0
        for row, matte in smooth_mattes(moments, sigma):
            final = keep_person(sharpen_matte(matte, settings.sharpen))
            place = clip.table.iloc[row]
            final *= inside_frame(place["x"], place["y"], place["side"], place["frame_width"], place["frame_height"], len(final))
            writer.add(table["image"].iloc[row], np.rint(final * 255).astype(np.uint8))
            table.loc[row, "coverage"] = float(final.mean())
        writer.finish(table[COLUMNS])


def sharpen_matte(matte: np.ndarray, contrast: float) -> np.ndarray:
    """Raise the contrast of a matte about one half; 1 leaves it as it is. Float, H x W, 0 to 1."""
    return np.clip((matte - 0.5) * contrast + 0.5, 0, 1)


def keep_person(matte: np.ndarray) -> np.ndarray:
    """Remove what is not connected to the face in the middle of the crop, and fill small holes.

    Args:
        matte: float32, S x S, 0 to 1.

    Returns:
        The same, with soft edges kept. Without anything solid in the middle it is returned as it is.
    """
    size = matte.shape[0]
    solid = (matte > 0.5).astype(np.uint8)
    count, labels = cv2.connectedComponents(solid, connectivity=4)
    middle = np.zeros_like(solid)
    axes = round(_FACE_WIDTH * size), round(_FACE_HEIGHT * size)
    cv2.ellipse(middle, (size // 2, size // 2), axes, 0, 0, 360, 1, -1)
    mine = np.unique(labels[(middle & solid).astype(bool)])
    if not len(mine):
        return matte
    person = np.isin(labels, mine)
    if count - 1 > len(mine):
        # Soft edges: a pixel goes with the nearest component.
        far = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, 3)
        other = cv2.distanceTransform((person | (solid == 0)).astype(np.uint8), cv2.DIST_L2, 3)
        matte = np.where(far <= other, matte, 0)
    return _fill_holes(matte, person, size)


def inside_frame(x: float, y: float, side: float, width: int, height: int, size: int) -> np.ndarray:
    """1 where a crop shows its frame, falling to 0 in the padding around: a mirrored head is nobody's.

    The fall is soft, over a tenth of the crop, so that a head that touches the border is not cut by a hard line.

    Args:
        x, y, side: square of the crop in the frame, px.
        width, height: of the frame, px.
        size: side of the crop, px.

    Returns:
        float32, size x size.
    """
    steps = (np.arange(size) + 0.5) * side / size
    across = np.maximum(np.maximum(-(x + steps), x + steps - width), 0)
    down = np.maximum(np.maximum(-(y + steps), y + steps - height), 0)
    shares = [np.clip(1 - beyond / (0.1 * side), 0, 1) for beyond in (down, across)]
    return np.minimum(shares[0][:, None], shares[1][None, :]).astype(np.float32)


def smooth_mattes(moments: Iterable[_Moment], sigma: float) -> Iterator[tuple[int, np.ndarray]]:
    """Smooth mattes over frames that are close in time, where the picture did not change; one matte a moment.

    Args:
        moments: in order of time.
        sigma: standard deviation, s; 0 passes every matte on as it is.

    Yields:
        Row and matte (float32, H x W). At most the frames within the smoothing's reach are held in memory.
    """
    reach = _REACH * sigma
    window: deque[_Moment] = deque()
    waiting: deque[_Moment] = deque()
    for moment in moments:
        while waiting and moment.time - waiting[0].time > reach:
            yield waiting[0].row, _smoothed(waiting.popleft(), window, sigma)
            # What no waiting frame can see any more is let go.
            oldest = waiting[0].time if waiting else moment.time
            while window and window[0].time < oldest - reach:
                window.popleft()
        window.append(moment)
        waiting.append(moment)
        if sigma <= 0:
            yield moment.row, moment.matte
            window.clear()
            waiting.clear()
    while waiting:
        yield waiting[0].row, _smoothed(waiting.popleft(), window, sigma)


def _smoothed(moment: _Moment, window: Iterable[_Moment], sigma: float) -> np.ndarray:
    total = moment.matte.copy()
    weights = np.ones_like(total)
    for other in window:
        away = abs(other.time - moment.time)
        if other.row == moment.row or away > _REACH * sigma:
            continue
        change = cv2.absdiff(moment.small, other.small).max(axis=2).astype(np.float32)
        change = cv2.GaussianBlur(change, (0, 0), 1.0) / _SAME_COLOUR
        weight = np.exp(-0.5 * (away / sigma) ** 2 - change**2)
        weight = cv2.resize(weight, total.shape[::-1], interpolation=cv2.INTER_LINEAR)
        total += weight * other.matte
        weights += weight
    return total / weights


def _moments(clip: Clip, segmenter: Segmenter) -> Iterator[_Moment]:
    table: pd.DataFrame = clip.table
    for row in np.flatnonzero((table["image"] != "").to_numpy()):
        image = clip.image(table["image"].iloc[row])
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
        yield _Moment(int(row), float(table["time"].iloc[row]), segmenter.matte(image), small)


def _fill_holes(matte: np.ndarray, person: np.ndarray, size: int) -> np.ndarray:
    """Fill holes of the person that are small (less than 0.4 % of the crop) or lie in the face."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats((~person).astype(np.uint8), connectivity=4)
    filled = matte
    for number in range(1, count):
        left, top, width, height, area = stats[number]
        if left == 0 or top == 0 or left + width == size or top + height == size:
            continue
        away = (centres[number] / size - 0.5) / (_FACE_WIDTH, _FACE_HEIGHT)
        if area < 0.004 * size * size or np.linalg.norm(away) < 1:
            filled = np.where(labels == number, 1, filled).astype(np.float32)
    return filled
