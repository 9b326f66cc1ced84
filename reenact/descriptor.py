"""The face descriptor behind the identity error: dlib's ResNet-29.

128 numbers per face, trained by Davis King on about 3 M faces of 7,485 people, 99.38 % on LFW (dlib.net,
`dlib_face_recognition_resnet_model_v1`; the weights are in the public domain). The network was trained for distances
(below 0.6 = same person), so its descriptors share a large common part and cosines are high: two strangers have an
identity error of 0.12 to 0.20, two frames of one video 0.01 to 0.05 (measured on the demo's people, at 64 and 256 px).
Compare errors of one descriptor with each other only.
"""

from pathlib import Path

import dlib
import numpy as np

from reenact.errors import UserError

NAME = "dlib ResNet-29 v1"
DIMENSIONS = 128
CHIP_SIZE = 150


class FaceDescriptor:
    """Maps a face to 128 numbers, given its 68 landmarks."""

    name = NAME

    def __init__(self, weights: Path) -> None:
        """Load the weights.

        Raises:
            UserError: the file is missing or is not dlib's face recognition network.
        """
        if not Path(weights).is_file():
            raise UserError(
                f"score.descriptor_weights: {weights} does not exist; the rule `fetch` downloads it, "
                "or give the path of dlib_face_recognition_resnet_model_v1.dat"
            )
        try:
            self._network = dlib.face_recognition_model_v1(str(weights))
        except RuntimeError as error:
            raise UserError(f"score.descriptor_weights: {weights} is not dlib's face recognition network ({error})") from None

    def describe(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Descriptor of one face: uint8 H x W x 3 RGB and its 68 x 2 points, px -> 128 float64, not normalised.

        A face without landmarks (any NaN) gives NaN.
        """
        if np.isnan(landmarks).any():
            return np.full(DIMENSIONS, np.nan)
        chip = face_chip(image, landmarks)
        return np.array(self._network.compute_face_descriptor(chip))


def face_chip(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cut the upright face as dlib's network was trained on: uint8 150 x 150 x 3.

    dlib fits a similarity from the 68 points to its mean face, whoever found the points, so no dlib shape predictor
    (whose weights may not be used commercially) is needed.

    Args:
        image: uint8 H x W x 3 RGB.
        landmarks: 68 x 2, px; pixel i covers [i, i + 1).
    """
    # dlib counts from the centre of the first pixel, ours from its edge; and its points are whole pixels, which at the
    # 256 px that faces are measured at moves the 68-point fit by far less than a pixel.
    centred = np.rint(landmarks - 0.5).astype(int)
    points = [dlib.point(x, y) for x, y in centred.tolist()]
    (left, top), (right, bottom) = centred.min(axis=0).tolist(), centred.max(axis=0).tolist()
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), points)
    return dlib.get_face_chip(np.ascontiguousarray(image), shape, size=CHIP_SIZE, padding=0.25)
