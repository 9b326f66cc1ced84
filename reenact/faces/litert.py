"""Networks in LiteRT, and the part of a picture that each of them sees.

They are those of Google's mediapipe 0.10.21, without mediapipe around them: `reenact/bundled/networks/NOTICE`. What its
graphs do between the networks is done here in the same way, so that results are the same
(docs/experiments/litert.md).
"""

import math
from pathlib import Path

import cv2
import numpy as np

from reenact.runtime.quiet import quiet_stderr

NETWORKS = Path(__file__).parents[1] / "bundled" / "networks"


class Network:
    """One network, on one thread; only one thread at a time may use it."""

    def __init__(self, source: Path | bytes) -> None:
        """Load a network.

        Args:
            source: the .tflite file, or what is in it.
        """
        # Only here: it takes a quarter of a second. It prints as it loads the first network.
        from ai_edge_litert.interpreter import Interpreter

        given = {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
        with quiet_stderr():
            self._interpreter = Interpreter(**given, num_threads=1)
            self._interpreter.allocate_tensors()
        self._inputs = [tensor["index"] for tensor in self._interpreter.get_input_details()]
        self._outputs = [tensor["index"] for tensor in self._interpreter.get_output_details()]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for these inputs, float32, both in the file's order and shapes."""
        for index, values in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def view(
    image: np.ndarray,
    shape: tuple[int, int],
    *,
    middle: np.ndarray,
    size: tuple[float, float],
    angle: float = 0.0,
    border: int = cv2.BORDER_CONSTANT,
    lowest: float = 0.0,
) -> np.ndarray:
    """A turned rectangle of a picture as a network sees it.

    By warpPerspective and with these corners, as mediapipe does it: warpAffine rounds otherwise.

    Args:
        image: uint8 RGB, H x W x 3.
        shape: height and width of the result, px.
        middle: of the rectangle, x and y, px.
        size: its width and height before it is turned, px.
        angle: by which it is turned, radians, clockwise as seen.
        border: what OpenCV fills in outside of the picture.
        lowest: what 0 becomes; 255 becomes 1.

    Returns:
        float32, 1 x height x width x 3.
    """
    across = np.array([math.cos(angle), math.sin(angle)]) * size[0] / 2
    down = np.array([-math.sin(angle), math.cos(angle)]) * size[1] / 2
    height, width = shape
    corners = np.array([middle - across + down, middle - across - down, middle + across - down, middle + across + down])
    matrix = cv2.getPerspectiveTransform(
        corners.astype(np.float32), np.array([(0, height), (0, 0), (width, 0), (width, height)], np.float32)
    )
    seen = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
    return seen.astype(np.float32)[None] * np.float32((1 - lowest) / 255) + np.float32(lowest)


def out_of_view(points: np.ndarray, *, middle: np.ndarray, side: float, angle: float) -> np.ndarray:
    """Points of a square that a network sees as points of the picture.

    Args:
        points: ... x 2, fractions of the side.
        middle, angle: of the square, as in `view`.
        side: of the square, px.
    """
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - 0.5) @ turn.T * side + middle


def centre(image: np.ndarray) -> np.ndarray:
    """The middle of a picture: x and y, px."""
    return np.array([image.shape[1] / 2, image.shape[0] / 2])
