"""The attention mesh: 478 points of a face (Grishchenko et al., Attention Mesh: High-fidelity Face Mesh Prediction in
Real-time, 2020).

mediapipe's network has three operations between its two halves that LiteRT does not know: they look at lips and eyes
once more, in the first half's map of features. So it is cut in two (`reenact/tools/extract_networks.py`), and they
are done here.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from reenact.faces.blaze_face import FaceBox
from reenact.faces.litert import NETWORKS, Network, out_of_view, view

MESH_POINTS = 478
_FACE_POINTS = 468
# Side of what the network sees, px, and how much larger than the detector's box that is.
_SIDE, _CONTEXT = 192, 1.5
# The map of features has a cell for 4 x 4 px; of a part of the face 16 x 16 places are read from it.
_CELL, _PLACES = 4, 16
_OFFSETS = np.stack(np.meshgrid(np.arange(_PLACES), np.arange(_PLACES)), axis=-1).reshape(-1, 2).astype(np.float32)
_OFFSETS += 0.5 - _PLACES / 2


@dataclass(frozen=True)
class _Part:
    """A part of the face that is looked at once more: its points, and the two whose line is level in that view."""

    points: np.ndarray
    left: int
    right: int


# The second half's outputs are in the order of these points, which the network's own operations list.
_LIPS = _Part(
    np.array(
        [
            *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
            *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
            *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
            *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
        ]
    ),
    61,
    291,
)
_LEFT_EYE = _Part(
    np.array(
        [
            *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24),
            *(23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244),
            *(113, 225, 224, 223, 222, 221, 189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121),
            *(128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
        ]
    ),
    33,
    133,
)
_RIGHT_EYE = _Part(
    np.array(
        [
            *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339),
            *(254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451),
            *(452, 453, 464, 342, 445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346),
            *(347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417),
        ]
    ),
    362,
    263,
)
_LEFT_IRIS, _RIGHT_IRIS = np.arange(468, 473), np.arange(473, 478)


class FaceMesh:
    """Finds the points of a face of which a detector says where it is."""

    def __init__(self) -> None:
        self._whole = Network(NETWORKS / "face_mesh.tflite")
        self._details = Network(NETWORKS / "face_mesh_details.tflite")

    def look(self, image: np.ndarray, found: FaceBox) -> np.ndarray | None:
        """The points of a face.

        Args:
            image: uint8 RGB, H x W x 3.
            found: what the detector says of it.

        Returns:
            x and y, px, float32, 478 x 2; None if there is no face after all.
        """
        side, border = _CONTEXT * found.side, cv2.BORDER_REPLICATE
        shown = view(image, (_SIDE, _SIDE), middle=found.middle, size=(side, side), angle=found.angle, border=border)
        mesh, features, presence = self._whole(shown)
        if presence.item() <= 0:
            return None
        points = np.empty((MESH_POINTS, 2), np.float32)
        points[:_FACE_POINTS] = mesh.reshape(_FACE_POINTS, 3)[:, :2]
        lips, left, right = (_read(features[0], points, part) for part in (_LIPS, _LEFT_EYE, _RIGHT_EYE))
        outputs = self._details(lips.features, left.features, right.features)
        views = (lips, left, left, right, right)
        targets = (_LIPS.points, _LEFT_EYE.points, _LEFT_IRIS, _RIGHT_EYE.points, _RIGHT_IRIS)
        for seen, target, values in zip(views, targets, outputs, strict=True):
            points[target] = seen.to_mesh(values.reshape(-1, 2))
        return out_of_view(points / _SIDE, middle=found.middle, side=side, angle=found.angle).astype(np.float32)


@dataclass(frozen=True)
class _View:
    """A part of the map of features, upright: 1 x 16 x 16 x C, and where its places lie in the map."""

    features: np.ndarray
    matrix: np.ndarray
    middle: np.ndarray

    def to_mesh(self, points: np.ndarray) -> np.ndarray:
        """Points of this view (x and y of 4 x 16 px) as points of what the network sees, px."""
        return (points - _CELL * _PLACES / 2) @ self.matrix.T + self.middle * _CELL


def _read(features: np.ndarray, points: np.ndarray, part: _Part) -> _View:
    """A part of the map, 1.5 times as large as its points need, bilinearly; 0 outside of the map.

    Args:
        features: 48 x 48 x C.
        points: of the mesh, px of what the network sees.
        part: which.
    """
    points = points[:_FACE_POINTS] / _CELL
    line = points[part.right] - points[part.left]
    cosine, sine = line / np.linalg.norm(line)
    turn = np.array([[cosine, -sine], [sine, cosine]], np.float32)
    upright = points[part.points] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    matrix, middle = turn * ((high - low) * np.float32(_CONTEXT / _PLACES)), turn @ ((low + high) / 2)
    places = _OFFSETS @ matrix.T + middle - np.float32(0.5)
    last = len(features) - 1
    corner = np.clip(np.floor(places).astype(int), 0, last - 1)
    (u, v), (x, y) = (places - corner).astype(np.float32).T[..., None], corner.T
    above = features[y, x] * (1 - u) + features[y, x + 1] * u
    below = features[y + 1, x] * (1 - u) + features[y + 1, x + 1] * u
    read = above * (1 - v) + below * v
    read[((places < 0) | (places > last)).any(axis=1)] = 0
    return _View(read.reshape(1, _PLACES, _PLACES, -1), matrix, middle)
