"""What a pose descriptor knows: how well what a face does can be read from it, linearly.

Whatever is driven by a descriptor follows a driver no better than this.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reenact.faces.landmarks import eye_opening, face_measures, head_angles, mouth_opening

COLUMNS = ("mouth", "lids", "yaw", "pitch", "roll", "mouth_width", "brows")
RIDGE = 10.0
"""Of the read-out: so many frames' worth of pull to the mean, for descriptors of standard deviation 1."""
# A measure that varies by no more than rounding does not vary.
_STILL = 1e-9


def read_measures(landmarks: np.ndarray) -> np.ndarray:
    """N x 68 x 2 (fractions of the side) -> N x 7, see `COLUMNS`; angles in degrees, the others in eye distances."""
    others = face_measures(landmarks)
    width, brows = others[:, 3], others[:, 4:6].mean(axis=1)
    angles = head_angles(landmarks)
    return np.column_stack([mouth_opening(landmarks), eye_opening(landmarks), angles, width, brows])


def readout_correlations(
    fitted: tuple[np.ndarray, np.ndarray], clips: Sequence[tuple[np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    """Pearson's r, over the frames of each clip, of what is read from descriptors and what landmarks say.

    Args:
        fitted: descriptors N x P of some frames of other people, and their landmarks N x 68 x 2, that the linear
            read-out (ridge regression) is fitted to.
        clips: descriptors and landmarks of each clip.

    Returns:
        A row a clip, columns `COLUMNS`; NaN where a measure does not change at all.
    """
    descriptors, landmarks = fitted
    mean, std = descriptors.mean(axis=0), descriptors.std(axis=0) + 1e-6

    def design(values: np.ndarray) -> np.ndarray:
        """Descriptors normalised, and a column of ones."""
        return np.column_stack([(values - mean) / std, np.ones(len(values))])

    known = design(descriptors)
    pull = RIDGE * np.eye(known.shape[1])
    pull[-1, -1] = 0.0
    weights = np.linalg.solve(known.T @ known + pull, known.T @ read_measures(landmarks))
    rows = []
    for values, points in clips:
        read, truth = design(values) @ weights, read_measures(points)
        rows.append([_correlation(read[:, column], truth[:, column]) for column in range(len(COLUMNS))])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or min(first.std(), second.std()) < _STILL:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
