"""Squares around faces: where the crop of a frame lies, and the way between coordinates of crops and of frames.

Coordinates are continuous: pixel i covers [i, i + 1).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Square:
    """A square in a frame.

    Attributes:
        centre_x, centre_y: its middle, px of the frame.
        side: px of the frame.
        angle: by which it is turned about its middle, degrees, clockwise as seen.
    """

    centre_x: float
    centre_y: float
    side: float
    angle: float = 0.0

    @classmethod
    def from_corner(cls, left: float, top: float, side: float, angle: float = 0.0) -> "Square":
        """The square with this top left corner before it is turned, px: as tables of crops have it (x, y)."""
        return cls(centre_x=left + side / 2, centre_y=top + side / 2, side=side, angle=angle)

    @property
    def left(self) -> float:
        """x of the top left corner before the square is turned, px."""
        return self.centre_x - self.side / 2

    @property
    def top(self) -> float:
        """y of the top left corner before the square is turned, px."""
        return self.centre_y - self.side / 2

    @property
    def rotation(self) -> np.ndarray:
        """The 2 x 2 matrix that turns the square."""
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        return np.array([[cosine, -sine], [sine, cosine]])

    def corners(self) -> np.ndarray:
        """The turned corners in the frame: top left, top right, bottom left, bottom right; 4 x 2, px."""
        return self.to_frame(np.array([(0, 0), (1, 0), (0, 1), (1, 1)]), 1)

    def to_frame(self, points: np.ndarray, size: float) -> np.ndarray:
        """Points of a crop of this square as points of the frame.

        Args:
            points: ... x 2, px of the crop.
            size: side of the crop, px; 1 for points that are given as fractions of the side.
        """
        corner = np.array([self.left, self.top])
        if not self.angle:
            return np.asarray(points) * (self.side / size) + corner
        inner = np.asarray(points) * (self.side / size) - self.side / 2
        return inner @ self.rotation.T + corner + self.side / 2

    def to_crop(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points of the frame (... x 2, px) as points of a crop of this square; the inverse of `to_frame`."""
        corner = np.array([self.left, self.top])
        if not self.angle:
            return (np.asarray(points) - corner) * (size / self.side)
        inner = np.asarray(points) - corner - self.side / 2
        return (inner @ self.rotation + self.side / 2) * (size / self.side)

    def scaled(self, across: float, down: float) -> "Square":
        """The square in a copy of the frame that is `across` times as wide and `down` times as high."""
        return Square.from_corner(self.left * across, self.top * down, self.side * across, self.angle)

    def whole_pixels(self) -> "Square":
        """The square of whole pixels that the published code takes in its place.

        It goes out to whole pixels on the left, top and right, and its right column is counted in.
        """
        left, top = math.floor(self.left), math.floor(self.top)
        return Square.from_corner(left, top, math.ceil(self.centre_x + self.side / 2) + 1 - left)


# ---- around a face ------------------------------------------------------------------------------------------


def box_square(box: np.ndarray, scale: float) -> Square:
    """The square around a face box (left, top, right, bottom, px): `scale` times its longer side, about its middle."""
    left, top, right, bottom = box
    return Square(
        centre_x=(left + right) / 2, centre_y=(top + bottom) / 2, side=scale * max(right - left, bottom - top)
    )


def ffhq_square(landmarks: np.ndarray, scale: float) -> Square:
    """FFHQ's square (Karras et al., CVPR 2019), turned upright by eyes and mouth.

    Half its side is the larger of 2 x the distance of the eyes and 1.8 x that from eyes to mouth; its middle lies a
    tenth of the way from the eyes to the mouth. The published code of this method does not turn its FFHQ squares.

    Args:
        landmarks: 68 x 2, px.
        scale: `crop.scale`; 1.8 leaves FFHQ's size.
    """
    left_eye, right_eye = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    eyes = (left_eye + right_eye) / 2
    across, down = right_eye - left_eye, (landmarks[48] + landmarks[54]) / 2 - eyes
    # The line of the eyes counts, and so does the one at right angles to that from eyes to mouth.
    direction = across + np.array([down[1], -down[0]])
    half = max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down))
    centre = eyes + 0.1 * down
    angle = math.degrees(math.atan2(direction[1], direction[0]))
    return Square(centre_x=centre[0], centre_y=centre[1], side=float(2 * half * scale / 1.8), angle=angle)


# ---- in tables ----------------------------------------------------------------------------------------------


def square_of(row: Any) -> Square:
    """The square of one row of a table of crops: x, y (top left corner), side, and angle if the table has it."""
    return Square.from_corner(row.x, row.y, row.side, getattr(row, "angle", 0.0))


def squares_of(table: pd.DataFrame) -> list[Square]:
    """The squares of all rows of a table of crops; NaN where a row has none."""
    return [square_of(row) for row in table.itertuples(index=False)]


def square_columns(squares: Iterable[Square]) -> np.ndarray:
    """x, y (top left corner), side and angle of N squares, as a table of crops has them: N x 4."""
    return np.array([(square.left, square.top, square.side, square.angle) for square in squares], float).reshape(-1, 4)
