"""One face in one picture: its box and its landmarks, whatever found them.

Coordinates are continuous: pixel i covers [i, i + 1), so the centre of the first pixel is 0.5.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Point of the 478-point mesh that stands for each of the 68 landmarks of iBUG, in their order. The jaw: from the ear
# at eye level over the chin to the other ear, those points of the mesh's face oval that are spaced most evenly.
_JAW = (127, 234, 93, 132, 172, 136, 149, 176, 152, 400, 378, 365, 397, 361, 323, 454, 356)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = (168, 197, 5, 4, 98, 97, 2, 326, 327)
_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
_INNER_LIPS = (78, 82, 13, 312, 308, 317, 14, 87)
IBUG_68 = np.array(_JAW + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS)

# S3FD's boxes, as the data it learned from, reach up to the hairline; the mesh ends a little below it.
_FOREHEAD = 0.08


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    Attributes:
        points: 478 x 2 (mediapipe's face mesh with irises) or 68 x 2 (the landmarks of iBUG), float32 (x, y), px.
        confidence: of the detector, 0 to 1.
        stated_box: left, top, right, bottom (px) as the detector says; None = the extent of the mesh.
    """

    points: np.ndarray
    confidence: float
    stated_box: np.ndarray | None = None

    @cached_property
    def box(self) -> np.ndarray:
        """Left, top, right, bottom (float64, px): hairline to chin and ear to ear, the extent of S3FD's boxes."""
        if self.stated_box is not None:
            return np.asarray(self.stated_box, np.float64)
        left, top = self.points.min(axis=0).astype(np.float64)
        right, bottom = self.points.max(axis=0).astype(np.float64)
        return np.array([left, top - _FOREHEAD * (bottom - top), right, bottom])

    @property
    def landmarks(self) -> np.ndarray:
        """The 68 landmarks of iBUG, 68 x 2 float32 (x, y), px."""
        return self.points if len(self.points) == 68 else self.points[IBUG_68]

    def moved(self, scale: float, x: float = 0.0, y: float = 0.0) -> "Face":
        """The same face in a picture where every coordinate is multiplied by `scale` and then shifted by x, y."""
        box = None if self.stated_box is None else self.stated_box * scale + [x, y, x, y]
        return Face(self.points * np.float32(scale) + np.array([x, y], np.float32), self.confidence, box)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom), 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / (box_area(a) + box_area(b) - shared))


def box_area(box: np.ndarray) -> float:
    """Area of a box (left, top, right, bottom)."""
    return float((box[2] - box[0]) * (box[3] - box[1]))
