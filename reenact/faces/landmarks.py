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


# ---- which way a head is turned ------------------------------------------------------------------------------

# Rigid ones of the 68 landmarks, and where they lie in a head seen from the front: x to the picture's right, y
# down, z away from the camera, in units of the landmarks' spread. The mean, mirrored and aligned, of 111 meshes of
# mediapipe from the demo's three people.
_RIGID = (27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45, 48, 54, 0, 16, 8)
_FRONTAL_HEAD = np.array(
    [
        (0.0, -0.715, -0.202),
        (0.0, -0.492, -0.401),
        (0.0, -0.293, -0.629),
        (0.0, -0.16, -0.69),
        (-0.319, 0.045, -0.29),
        (0.0, 0.076, -0.434),
        (0.319, 0.045, -0.29),
        (-0.773, -0.586, 0.156),
        (-0.304, -0.59, 0.067),
        (0.304, -0.59, 0.067),
        (0.773, -0.586, 0.156),
        (-0.492, 0.461, -0.09),
        (0.492, 0.461, -0.09),
        (-1.137, -0.45, 0.967),
        (1.137, -0.45, 0.967),
        (0.0, 1.291, -0.202),
    ]
)
_FRONTAL_HEAD -= _FRONTAL_HEAD.mean(axis=0)
_FIT = np.linalg.pinv(_FRONTAL_HEAD)


def head_angles(landmarks: np.ndarray) -> np.ndarray:
    """Which way a head is turned: yaw, pitch and roll in degrees, float64.

    The rigid landmarks are fitted by a frontal head, rotated and scaled, in parallel projection: the least squares
    solution, and the rotation nearest to it. On the demo's clips it differs by 0.8, 1.2 and 0.1 degrees in the
    mean from the rotation of mediapipe's three-dimensional mesh.

    Args:
        landmarks: ... x 68 x 2.

    Returns:
        ... x 3. yaw: positive where the nose points to the picture's right; pitch: positive where it points up;
        roll: positive where the head leans to the picture's right, clockwise.
    """
    points = np.asarray(landmarks, np.float64)[..., list(_RIGID), :]
    projection = np.swapaxes(_FIT @ (points - points.mean(axis=-2, keepdims=True)), -1, -2)
    left, _, right = np.linalg.svd(projection, full_matrices=False)
    turned = left @ right
    across, down = turned[..., 0, :], turned[..., 1, :]
    away = np.cross(across, down)
    roll = np.arctan2(down[..., 0], across[..., 0])
    # Where the nose points once the head no longer leans.
    aside = np.cos(roll) * across[..., 2] + np.sin(roll) * down[..., 2]
    up = np.cos(roll) * down[..., 2] - np.sin(roll) * across[..., 2]
    yaw, pitch = np.arctan2(-aside, away[..., 2]), np.arcsin(np.clip(up, -1, 1))
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))


# ---- what a face does, in numbers that a network learns ---------------------------------------------------------

FACE_MEASURES = {
    "mouth": (0.05, 0.05),
    "left_lids": (0.11, 0.03),
    "right_lids": (0.11, 0.03),
    "mouth_width": (0.55, 0.07),
    "left_brow": (0.26, 0.05),
    "right_brow": (0.26, 0.05),
    "yaw": (0.0, 11.5),
    "pitch": (0.0, 11.5),
    "roll": (0.0, 11.5),
    "x": (0.5, 0.05),
    "y": (0.5, 0.05),
    "log_size": (-1.7, 0.12),
}
"""What `face_measures` gives -> a usual value, and how far faces in crops usually are from it.

Openings, the width of the mouth and the brows' height above the eyes in outer-eye distances; angles in degrees; place
in fractions of the side; size: root mean square distance of the landmarks from their middle. Left is the picture's.
"""


def face_measures(landmarks: np.ndarray) -> np.ndarray:
    """What a face does and where it is: N x 68 x 2, fractions of the side -> N x 12, see `FACE_MEASURES`."""
    points = np.asarray(landmarks, np.float64)
    unit = np.maximum(eye_distance(points), 1e-4)

    def gap(first: tuple[int, ...], second: tuple[int, ...]) -> np.ndarray:
        """Mean distance of pairs of points, in the unit: N."""
        return np.linalg.norm(points[:, first] - points[:, second], axis=-1).mean(axis=1) / unit

    up = points[:, 27] - points[:, 8]
    up /= np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-4)
    brows = [
        ((points[:, brow].mean(axis=1) - points[:, eye].mean(axis=1)) * up).sum(axis=1) / unit
        for brow, eye in ((slice(17, 22), slice(36, 42)), (slice(22, 27), slice(42, 48)))
    ]
    middle = points.mean(axis=1)
    size = np.sqrt(((points - middle[:, None]) ** 2).sum(axis=2).mean(axis=1))
    openings = [gap((61, 62, 63), (67, 66, 65)), gap((37, 38), (41, 40)), gap((43, 44), (47, 46)), gap((48,), (54,))]
    columns = [*openings, *brows, *head_angles(points).T, *middle.T, np.log(np.maximum(size, 1e-4))]
    return np.stack(columns, axis=1)
