"""Measures of faces by their 68 landmarks (the points of Multi-PIE/iBUG): N x 68 x 2 in px, one row a frame.

[EAR] Soukupova and Cech, Real-Time Eye Blink Detection using Facial Landmarks, CVWW 2016.
"""

import numpy as np

OUTER_EYE_CORNERS = (36, 45)
"""Indices of the outer eye corners among the 68 points."""

# Of the 68 iBUG landmarks: the number that each one gets when the picture is mirrored.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
]  # fmt: skip
EYES_AND_MOUTH = (range(36, 42), range(42, 48), range(48, 60))


def found(landmarks: np.ndarray) -> np.ndarray:
    """Whether the face of each frame was found: N x 68 x 2 -> N bool."""
    return ~np.isnan(landmarks).any(axis=(1, 2))


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners of each frame, px: N x 68 x 2 -> N."""
    left, right = OUTER_EYE_CORNERS
    return np.linalg.norm(landmarks[:, left] - landmarks[:, right], axis=-1)


def eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """How open the eyes are: height / width of the eye outline, mean of both eyes, no unit: N x 68 x 2 -> N [EAR]."""
    ratios = []
    for first in (36, 42):
        p = [landmarks[:, first + k] for k in range(6)]
        height = np.linalg.norm(p[1] - p[5], axis=-1) + np.linalg.norm(p[2] - p[4], axis=-1)
        ratios.append(height / np.maximum(2 * np.linalg.norm(p[0] - p[3], axis=-1), 1e-2))
    return np.mean(ratios, axis=0)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """How open the mouth is: mean gap of the inner lips (3 pairs of points) in outer-eye distances: N x 68 x 2 -> N."""
    gaps = [
        np.linalg.norm(landmarks[:, upper] - landmarks[:, lower], axis=-1)
        for upper, lower in ((61, 67), (62, 66), (63, 65))
    ]
    return np.mean(gaps, axis=0) / np.maximum(eye_distance(landmarks), 1e-2)
