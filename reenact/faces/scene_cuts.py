"""Scene cuts, seen on tiny grey copies of the frames (16 x 16 px)."""

import cv2
import numpy as np

VIEW_SIZE = 16
# A cut: the tiny copy changes by this much (mean, of 255), and this many times as much as in the frames around.
CUT_CHANGE, CUT_RATIO = 16.0, 4.0
# Frames on either side of a change that it is compared with.
_AROUND = 6


def tiny_view(grey: np.ndarray) -> np.ndarray:
    """A grey picture (uint8, H x W) at 16 x 16 px."""
    return cv2.resize(grey, (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA)


def scene_change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean difference of two tiny views, of 255; not enough for a cut where both show the same place."""
    change = float(cv2.absdiff(before, after).mean())
    return min(change, CUT_CHANGE) if same_place(before, after) else change


def same_place(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two tiny views show the same place: two fifths of what is not black (bars) are as they were.

    A face that fills half of the picture, and moves, leaves that much.
    """
    lit = np.maximum(before, after) > 24
    return bool(lit.any() and (cv2.absdiff(before, after)[lit] <= 4).mean() >= 0.4)


def find_cuts(changes: np.ndarray) -> list[int]:
    """Rows that begin a new scene.

    Args:
        changes: `scene_change` of each row from the row before, N; 0 where the frame was not looked at.
    """
    looked = np.flatnonzero(changes > 0)
    values = changes[looked]
    cuts = []
    for i in np.flatnonzero(values > CUT_CHANGE).tolist():
        around = np.delete(values[max(0, i - _AROUND) : i + _AROUND + 1], min(i, _AROUND))
        if not len(around) or values[i] > CUT_RATIO * np.median(around):
            cuts.append(int(looked[i]))
    return cuts


def scene_numbers(cuts: list[int], rows: int) -> np.ndarray:
    """The number of each row's scene, from 0."""
    return np.searchsorted(cuts, np.arange(rows), side="right")
