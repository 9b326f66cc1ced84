"""Expressions as numbers: 52 blendshapes (ARKit's names), and a second mesh, by mediapipe's face landmarker.

Its networks (Google's, Apache-2.0) are not part of this package: they are fetched by their hash, as FACE_LANDMARKER of
`reenact.settings.fetch`, and run uncut. The blendshapes are learned for their own mesh; that of `face_mesh` fed to
them gives other numbers (r 0.7 to 0.95). It stays for everything else: the two differ by 1 % of the face.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reenact.faces.blaze_face import BlazeFace, FaceBox
from reenact.faces.face_mesh import MESH_POINTS
from reenact.faces.litert import Network, out_of_view, view
from reenact.runtime.downloads import check_sha256
from reenact.runtime.errors import UserError
from reenact.settings.fetch import FACE_LANDMARKER, KNOWN_FILES

_SIDES = ("Left", "Right")
BLENDSHAPES = (
    "_neutral",
    *(f"browDown{side}" for side in _SIDES),
    "browInnerUp",
    *(f"browOuterUp{side}" for side in _SIDES),
    "cheekPuff",
    *(f"{part}{side}" for part in ("cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn") for side in _SIDES),
    *(f"{part}{side}" for part in ("eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide") for side in _SIDES),
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *(f"{part}{side}" for part in ("mouthDimple", "mouthFrown") for side in _SIDES),
    *("mouthFunnel", "mouthLeft"),
    *(f"{part}{side}" for part in ("mouthLowerDown", "mouthPress") for side in _SIDES),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(f"{part}{side}" for part in ("mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer") for side in _SIDES),
)
"""Names of the 52 numbers, in their order; left and right are the person's own."""

# Side of what the mesh's network sees, px, and how much larger than the detector's box that is.
_SIDE, _CONTEXT = 256, 1.5
# The points that the blendshapes hang on.
_POINTS = np.array(
    [
        *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78),
        *(80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150),
        *(152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197),
        *(234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308),
        *(310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377),
        *(378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466),
        *range(468, 478),
    ]
)


@dataclass(frozen=True)
class Expression:
    """A face as the face landmarker sees it.

    Attributes:
        points: its mesh, 478 x 3 float32 (x, y, z), px; z falls towards the camera, 0 about the middle of the head. (In
            mediapipe z has another scale where a head leans in a picture that is not square.)
        blendshapes: 52 float32, 0 to 1, in the order of BLENDSHAPES.
    """

    points: np.ndarray
    blendshapes: np.ndarray


class FaceLandmarker:
    """Reads expressions; one thread at a time may use it."""

    def __init__(self, bundle: Path, *, min_confidence: float = 0.5) -> None:
        """Load the networks.

        Args:
            bundle: face_landmarker_v2.task.
            min_confidence: least confidence of the detector's, 0 to 1.

        Raises:
            UserError: it is missing, or another file.
        """
        if not bundle.is_file():
            raise UserError(f"{bundle} does not exist; fetch it with: snakemake --cores 1 resources/{FACE_LANDMARKER}")
        check_sha256(bundle, KNOWN_FILES[FACE_LANDMARKER].sha256, str(bundle))
        with zipfile.ZipFile(bundle) as archive:
            self._mesh = Network(archive.read("face_landmarks_detector.tflite"))
            self._blendshapes = Network(archive.read("face_blendshapes.tflite"))
        self._near = BlazeFace("near", min_confidence)

    def read(self, image: np.ndarray) -> Expression | None:
        """The expression of the surest face in a picture (uint8 RGB, H x W x 3); None if there is none."""
        seen = (self.look(image, box) for box in self._near.find(image))
        return next((expression for expression in seen if expression is not None), None)

    def look(self, image: np.ndarray, found: FaceBox) -> Expression | None:
        """The expression of the face that a detector saw in a picture; None if there is no face after all."""
        side, border = _CONTEXT * found.side, cv2.BORDER_REPLICATE
        shown = view(image, (_SIDE, _SIDE), middle=found.middle, size=(side, side), angle=found.angle, border=border)
        mesh, presence, _ = self._mesh(shown)
        if presence.item() <= 0:
            return None
        points = mesh.reshape(MESH_POINTS, 3) / np.float32(_SIDE)
        flat = out_of_view(points[:, :2], middle=found.middle, side=side, angle=found.angle)
        points = np.column_stack([flat, points[:, 2] * side]).astype(np.float32)
        (blendshapes,) = self._blendshapes(points[None, _POINTS, :2])
        return Expression(points, blendshapes.ravel())
