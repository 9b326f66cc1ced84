"""BlazeFace: where faces are, roughly (Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection, 2019).

Two networks of mediapipe: the near one sees 128 x 128 px of the picture and is meant for faces within 2 m of the
camera, the far one 192 x 192 px, within 5 m.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reenact.faces.litert import NETWORKS, Network, centre, view

# Boxes that overlap more than this (IoU) are one face.
_SAME_FACE = 0.3


@dataclass(frozen=True)
class FaceBox:
    """A face as BlazeFace sees it.

    Attributes:
        confidence: 0 to 1.
        box: left, top, right, bottom, px: from the brows to the chin.
        eyes: x and y of the eye on the left and of that on the right of a face seen from the front, 2 x 2, px.
    """

    confidence: float
    box: np.ndarray
    eyes: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Of the box: x and y, px."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def angle(self) -> float:
        """By which the face is turned about its middle, radians, clockwise as seen: the line of its eyes."""
        across, down = self.eyes[1] - self.eyes[0]
        return math.atan2(down, across)

    @property
    def side(self) -> float:
        """The longer side of the box, px."""
        return float((self.box[2:] - self.box[:2]).max())


@dataclass(frozen=True)
class _Kind:
    """A file, the side of what the network sees (px), and its grids: cells in a row, and boxes a cell."""

    file: str
    side: int
    grids: tuple[tuple[int, int], ...]


_KINDS = {"near": _Kind("face_near.tflite", 128, ((16, 2), (8, 6))), "far": _Kind("face_far.tflite", 192, ((48, 1),))}


class BlazeFace:
    """One of the two networks."""

    def __init__(self, kind: Literal["near", "far"], min_confidence: float) -> None:
        """Load it.

        Args:
            kind: which.
            min_confidence: least confidence of a face, 0 to 1.
        """
        self._kind = _KINDS[kind]
        self._network = Network(NETWORKS / self._kind.file)
        self._anchors = np.concatenate([_anchors(cells, boxes) for cells, boxes in self._kind.grids])
        self._lowest = _logit(min_confidence)

    def find(self, image: np.ndarray) -> list[FaceBox]:
        """The faces of a picture (uint8 RGB, H x W x 3), surest first."""
        side, middle, seen = max(image.shape[:2]), centre(image), self._kind.side
        shown = view(image, (seen, seen), middle=middle, size=(side, side), lowest=-1.0)
        regressors, logits = self._network(shown)
        kept = np.flatnonzero(logits.ravel() >= self._lowest)
        scores = 1 / (1 + np.exp(-logits.ravel()[kept].astype(np.float64)))
        order = np.argsort(-scores, kind="stable")
        kept, scores = kept[order], scores[order]
        # Of each box: x, y, width, height, then points, of which the first two are the eyes; about its anchor.
        values, anchors = regressors[0, kept] / seen, self._anchors[kept]
        middles, halves = values[:, :2] + anchors, values[:, 2:4] / 2
        points = np.hstack([middles - halves, middles + halves, values[:, 4:8] + np.tile(anchors, 2)])
        real = (halves > 0).all(axis=1)
        scores, points = scores[real], points[real]
        corner = np.tile(middle - side / 2, 4)
        merged = [(confidence, found * side + corner) for confidence, found in _merged(scores, points)]
        return [FaceBox(confidence, found[:4], found[4:].reshape(2, 2)) for confidence, found in merged]


def _anchors(cells: int, boxes: int) -> np.ndarray:
    """Middles of the cells of a grid, row by row, each as often as it has boxes: x and y, 0 to 1."""
    steps = (np.arange(cells) + 0.5) / cells
    return np.repeat(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2), boxes, axis=0)


def _logit(probability: float) -> float:
    if probability <= 0 or probability >= 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


def _merged(scores: np.ndarray, points: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Of boxes that are one face the mean, weighted by their scores, with the highest score.

    Args:
        scores: N, falling.
        points: N x 8: left, top, right, bottom, which enclose some area, and the eyes.
    """
    merged, left = [], np.arange(len(scores))
    while len(left):
        same = _overlaps(points[left, :4], points[left[0], :4]) > _SAME_FACE
        group = left[same]
        merged.append((float(scores[left[0]]), scores[group] @ points[group] / scores[group].sum()))
        left = left[~same]
    return merged


def _overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union of each of N boxes with one."""
    sides = np.maximum(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0)
    shared = sides.prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, 1e-12)
