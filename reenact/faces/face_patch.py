"""The pixels of a face box at one size: how sharp the face is, and the thumbnail by which people are told apart."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from reenact.faces.face import Face

# Faces are measured at this size, px, so that sharpness is the same for a small sharp face and a large soft one.
_SIZE = 96
_THUMBNAIL = 24
# Where the middles of both eyes and of the mouth lie in a thumbnail: x + y i, px.
_EYES_AND_MOUTH = (7 + 9j, 17 + 9j, 12 + 18j)
# Averages both eyes' and the mouth's landmarks, of the 68.
_MEANS = np.array(
    [
        [(first <= number < last) / (last - first) for number in range(68)]
        for first, last in ((36, 42), (42, 48), (48, 68))
    ]
)


@dataclass(frozen=True)
class FacePatch:
    """A face box brought to 96 x 96 px.

    Attributes:
        pixels: uint8, 96 x 96; 1 x 1 where the box lies outside of the picture.
        corner: left and top of the box in the picture, px.
        step: width and height of one of its pixels in the picture, px.
    """

    pixels: np.ndarray
    corner: np.ndarray
    step: np.ndarray

    @classmethod
    def cut(cls, grey: np.ndarray, box: np.ndarray) -> "FacePatch":
        """From a grey picture, uint8, H x W; the box is left, top, right, bottom, px."""
        height, width = grey.shape
        left, top = max(0, int(box[0])), max(0, int(box[1]))
        right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        if right - left < 2 or bottom - top < 2:
            return cls(np.zeros((1, 1), np.uint8), np.zeros(2), np.ones(2))
        part = grey[top:bottom, left:right]
        kernel = cv2.INTER_AREA if part.shape[0] > _SIZE else cv2.INTER_CUBIC
        step = np.array([right - left, bottom - top]) / _SIZE
        return cls(cv2.resize(part, (_SIZE, _SIZE), interpolation=kernel), np.array([left, top]), step)

    @property
    def sharpness(self) -> float:
        """How much fine detail the face has, whatever its size, light and contrast; 0 = none.

        The variance of the Laplacian, relative to that of the pixels.
        """
        detail = cv2.meanStdDev(cv2.Laplacian(self.pixels, cv2.CV_32F))[1].item() ** 2
        return detail / max(cv2.meanStdDev(self.pixels)[1].item() ** 2, 1.0)

    def thumbnail(self, face: Face) -> np.ndarray:
        """The inner face, upright, 24 x 24 px, as a vector of zero mean and unit length: 576 float16.

        Args:
            face: of the picture that the patch was cut from.
        """
        source = [complex(x, y) for x, y in (_MEANS @ face.landmarks).tolist()]
        # The similarity (least squares): complex numbers make one factor of rotation and scale.
        middle, goal = sum(source) / 3, sum(_EYES_AND_MOUTH) / 3
        centred = [point - middle for point in source]
        turn = sum(point.conjugate() * (aim - goal) for point, aim in zip(centred, _EYES_AND_MOUTH, strict=True)) / sum(
            abs(point) ** 2 for point in centred
        )
        shift = goal - turn * middle
        matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
        # Taken from the patch, where a pixel of the thumbnail is about two: samples of a large face itself would be
        # noise.
        matrix[:, 2] += matrix[:, :2] @ self.corner
        matrix[:, :2] *= self.step
        square = cv2.warpAffine(self.pixels, matrix, (_THUMBNAIL, _THUMBNAIL), borderMode=cv2.BORDER_REPLICATE)
        pixels = square.astype(np.float32).ravel()
        pixels -= pixels.mean()
        return (pixels / max(math.sqrt(pixels @ pixels), 1e-6)).astype(np.float16)
