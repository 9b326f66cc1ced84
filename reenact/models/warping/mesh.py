"""The face mesh of MediaPipe: which of its points are what, and its triangles."""

import numpy as np
from scipy.spatial import Delaunay

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


def triangles(mean: np.ndarray) -> np.ndarray:
    """Triangles of the mesh, T x 3: of the mean face as it is seen when it is unrolled around its vertical axis.

    Args:
        mean: M x 3, the mean face.
    """
    back = mean[:, 2].max() + 0.2 * np.ptp(mean[:, 2])
    angle = np.arctan2(mean[:, 0], back - mean[:, 2])
    flat = np.column_stack([angle * np.ptp(mean[:, 0]), mean[:, 1]])
    return Delaunay(flat).simplices.astype(np.int32)


def mirrored(mean: np.ndarray) -> np.ndarray:
    """The number that each point gets when the picture is mirrored: M."""
    return np.linalg.norm((mean * [-1, 1, 1])[:, None] - mean[None], axis=-1).argmin(1)
