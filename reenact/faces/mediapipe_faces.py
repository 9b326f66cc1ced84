"""Faces in a picture: mediapipe's face mesh, its box, and the 68 landmarks of iBUG taken from it.

Every picture is looked at by itself: results do not depend on the frames before, a scene cut cannot drag a mesh along,
and several faces cost nothing extra.
"""

from types import TracebackType

import cv2
import numpy as np

from reenact.faces.blaze_face import BlazeFace, FaceBox
from reenact.faces.face import Face, box_area, box_iou
from reenact.faces.face_mesh import FaceMesh

# The near detector loses faces from about a sixth of the picture's height downwards, so it is not relied on below this.
_SMALL = 0.25
# What the far detector finds is looked at by the near one in a window this many times as large, at this size, px.
_CONTEXT, _WINDOW = 2.5, 256


class FaceFinder:
    """Finds the faces of single pictures. Use it as a context manager; one finder serves any number of pictures.

    Small faces are found by a second, long-distance detector, which is asked only where the first finds no large one.
    The networks take one picture at a time: in batches they are no faster (docs/experiments/litert.md).
    """

    batch = 4

    def __init__(self, *, max_faces: int = 8, min_confidence: float = 0.5) -> None:
        """Load the networks, which come with the package.

        Args:
            max_faces: most faces in one picture.
            min_confidence: least confidence of a detection by the near detector, 0 to 1; see `far_confidence`.
        """
        self._max_faces = max_faces
        self._near, self._far = BlazeFace("near", min_confidence), BlazeFace("far", far_confidence(min_confidence))
        self._mesh = FaceMesh()

    def __enter__(self) -> "FaceFinder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks."""
        del self._near, self._far, self._mesh

    def find_all(self, images: list[np.ndarray]) -> list[list[Face]]:
        """`find` for several pictures."""
        return [self.find(image) for image in images]

    def find(self, image: np.ndarray) -> list[Face]:
        """The faces in a picture (uint8 RGB, H x W x 3, any size), larger ones first; empty if there is none."""
        faces = self._find_near(image)
        if all(face.box[3] - face.box[1] < _SMALL * min(image.shape[:2]) for face in faces):
            faces = _without_doubles(self._find_far(image) + faces)
        return sorted(faces, key=lambda face: -box_area(face.box))

    def _find_near(self, image: np.ndarray) -> list[Face]:
        seen = [(box, self._mesh.look(image, box)) for box in self._near.find(image)[: self._max_faces]]
        return _without_doubles([Face(points, box.confidence) for box, points in seen if points is not None])

    def _find_far(self, image: np.ndarray) -> list[Face]:
        faces = [face for box in self._far.find(image) for face in self._look_closer(image, box)]
        return _without_doubles(sorted(faces, key=lambda face: -face.confidence))

    def _look_closer(self, image: np.ndarray, box: FaceBox) -> list[Face]:
        """The face of a box of the far detector, as the near one sees it: one or none."""
        side = _CONTEXT * box.side
        x, y = box.middle - side / 2
        to_window = np.array([[_WINDOW / side, 0, -x * _WINDOW / side], [0, _WINDOW / side, -y * _WINDOW / side]])
        window = cv2.warpAffine(
            image, to_window, (_WINDOW, _WINDOW), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return [
            Face(face.moved(side / _WINDOW, x, y).points, min(face.confidence, box.confidence))
            for face in self._find_near(window)[:1]
        ]


def far_confidence(min_confidence: float) -> float:
    """Least confidence of the far detector: 0.6 where the near one's is 0.5, as in mediapipe, and 1.5 of its odds.

    At 0.5 it sees faces in clips that have none.
    """
    return 1.5 * min_confidence / (1 + 0.5 * min_confidence)


def _without_doubles(faces: list[Face]) -> list[Face]:
    """Two detections of one face end in (nearly) the same mesh; the one that is listed first stays."""
    kept: list[Face] = []
    for face in faces:
        if all(box_iou(face.box, other.box) < 0.5 for other in kept):
            kept.append(face)
    return kept
