"""The face mesh of MediaPipe: which of its points are what, and its triangles."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

POINTS = 478
"""Of the face and of both irises."""

FOREHEAD, CHIN = 10, 152
"""Topmost and lowest point in the middle of the face."""

INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""The outline of what lies between the lips, in order."""

EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
"""The outlines of what lies between the lids, in order."""

OUTER_EYE_CORNERS = (EYES[0][0], EYES[1][0])


@dataclass(frozen=True)
class MeanFace:
    """The mean face, and what follows from it.

    Attributes:
        points: M x 3, centred, float64.
    """

    points: np.ndarray

    @cached_property
    def triangles(self) -> np.ndarray:
        """Triangles of the mesh, T x 3: of the face as it is seen when it is unrolled around its vertical axis."""
        # Only here: a model of the other family has no mesh.
        from scipy.spatial import Delaunay

        across, depth = self.points[:, 0], self.points[:, 2]
        back = depth.max() + 0.2 * np.ptp(depth)
        angle = np.arctan2(across, back - depth)
        flat = np.column_stack([angle * np.ptp(across), self.points[:, 1]])
        return Delaunay(flat).simplices.astype(np.int32)

    @cached_property
    def mirrored(self) -> np.ndarray:
        """The number that each point gets when the picture is mirrored: M."""
        return np.linalg.norm((self.points * [-1, 1, 1])[:, None] - self.points[None], axis=-1).argmin(1)
