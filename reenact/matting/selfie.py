"""mediapipe's selfie segmentation: which pixels belong to whoever sits before the camera."""

import cv2
import numpy as np

from reenact.faces.litert import NETWORKS, Network, centre, view


class Selfie:
    """One of the two networks: the general one sees a picture at 256 x 256 px, "landscape" at 144 x 256."""

    def __init__(self, *, general: bool) -> None:
        self._network = Network(NETWORKS / ("selfie_general.tflite" if general else "selfie_landscape.tflite"))
        self._shape = (256, 256) if general else (144, 256)

    def matte(self, image: np.ndarray) -> np.ndarray:
        """The matte of a picture (uint8 RGB, H x W x 3): float32, H x W, 0 background to 1 person."""
        height, width = image.shape[:2]
        (matte,) = self._network(view(image, self._shape, middle=centre(image), size=(width, height)))
        return cv2.resize(matte.reshape(self._shape), (width, height), interpolation=cv2.INTER_LINEAR)
