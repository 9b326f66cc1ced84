"""Steadying mattes over time: each is averaged with those of the frames around it, where the picture did not change."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Frames further apart than this many standard deviations do not count.
_CUTOFF = 2.5
# Pixels that change by about this much (of 255) show something else, and are not averaged.
_SAME_COLOUR = 20.0


@dataclass(frozen=True)
class MatteFrame:
    """One frame on its way through the smoothing.

    Attributes:
        row: in the frame table.
        time: s.
        scene: number of its scene; frames of other scenes do not count.
        matte: float32, S x S, 0 background to 1 person.
        thumbnail: the crop at 64 x 64 px, uint8 RGB.
        supplied: the matte came with the media: it is neither changed nor used for other frames.
    """

    row: int
    time: float
    scene: int
    matte: np.ndarray
    thumbnail: np.ndarray
    supplied: bool = False


def with_neighbours(frames: Iterable[MatteFrame], sigma: float) -> Iterator[tuple[MatteFrame, list[MatteFrame]]]:
    """Each frame with those that it is averaged with, itself left out; no more frames than that are held in memory.

    Args:
        frames: in order of time.
        sigma: standard deviation of the smoothing, s; with 0 no frame has neighbours.
    """
    reach = _CUTOFF * sigma
    window: deque[MatteFrame] = deque()
    waiting: deque[MatteFrame] = deque()
    for frame in frames:
        if sigma <= 0:
            yield frame, []
            continue
        while waiting and frame.time - waiting[0].time > reach:
            yield waiting[0], _neighbours(waiting.popleft(), window, reach)
            # Frames that no waiting frame can reach any more are let go.
            oldest = waiting[0].time if waiting else frame.time
            while window and window[0].time < oldest - reach:
                window.popleft()
        window.append(frame)
        waiting.append(frame)
    while waiting:
        yield waiting[0], _neighbours(waiting.popleft(), window, reach)


def smooth_matte(frame: MatteFrame, neighbours: Sequence[MatteFrame], sigma: float) -> np.ndarray:
    """The mean matte of a frame and its neighbours: near ones count more, and only where the picture did not change.

    Args:
        frame: whose matte is wanted.
        neighbours: from `with_neighbours`.
        sigma: standard deviation of the weights, s.

    Returns:
        float32, S x S.
    """
    if not neighbours:
        return frame.matte
    size = frame.matte.shape[::-1]
    total, weights = frame.matte.copy(), np.ones_like(frame.matte)
    for other in neighbours:
        red, green, blue = cv2.split(cv2.absdiff(frame.thumbnail, other.thumbnail))
        change = cv2.max(cv2.max(red, green), blue).astype(np.float32)
        change = cv2.GaussianBlur(change, (0, 0), 1.0) / _SAME_COLOUR
        weight = cv2.exp(-0.5 * ((other.time - frame.time) / sigma) ** 2 - change * change)
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR)
        cv2.accumulateProduct(weight, other.matte, total)
        cv2.accumulate(weight, weights)
    return cv2.divide(total, weights)


def _neighbours(frame: MatteFrame, window: Iterable[MatteFrame], reach: float) -> list[MatteFrame]:
    return [
        other
        for other in window
        if not (frame.supplied or other.supplied)
        and other.row != frame.row
        and other.scene == frame.scene
        and abs(other.time - frame.time) <= reach
    ]
