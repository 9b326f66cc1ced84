"""The way of a square through a clip: smoothed over time, and bridged where the face is not seen.

A state is a row of five numbers: the square's centre (x, y), the logarithm of its side (sizes change by factors), its
angle, and the height of the face.
"""

import numpy as np

from reenact.faces.detection import Detection
from reenact.faces.square import Square, box_square, ffhq_square
from reenact.settings.crop import CropSettings


def to_states(detections: list[Detection], settings: CropSettings) -> np.ndarray:
    """The states of the squares around these faces, in order of time: N x 5."""
    if settings.geometry == "ffhq":
        squares = [ffhq_square(np.asarray(face.landmarks, float), settings.scale) for face in detections]
    else:
        squares = [box_square(face.box, settings.scale) for face in detections]
    centres = [(square.centre_x, square.centre_y) for square in squares]
    sides = np.log([square.side for square in squares])
    angles = np.unwrap([square.angle for square in squares], period=360)
    return np.column_stack([centres, sides, angles, [face.height for face in detections]])


def to_squares(states: np.ndarray) -> list[Square]:
    """The squares of N x 5 states."""
    return [
        Square(centre_x=x, centre_y=y, side=float(np.exp(log_side)), angle=angle)
        for x, y, log_side, angle, _ in states.tolist()
    ]


def smooth(times: np.ndarray, values: np.ndarray, sigma: float) -> np.ndarray:
    """Zero-phase Gaussian smoothing at uneven times: a weighted straight line is fitted around each of them.

    A line rather than a mean, because a mean is biased at both ends of a clip, where one side is missing.

    Args:
        times: N, ascending, s.
        values: N x C.
        sigma: standard deviation of the weights, s; 0 returns the values.
    """
    if sigma <= 0 or len(times) < 2:
        return np.array(values, float)
    result = np.empty(np.shape(values))
    first = np.searchsorted(times, times - 4 * sigma)
    last = np.searchsorted(times, times + 4 * sigma, side="right")
    for i in range(len(times)):
        offset = times[first[i] : last[i]] - times[i]
        weight = np.exp(-0.5 * (offset / sigma) ** 2)
        # The value at offset 0 of the line that fits best (weighted least squares), by the moments of the weights.
        s0, s1, s2 = weight.sum(), (weight * offset).sum(), (weight * offset**2).sum()
        determinant = s0 * s2 - s1**2
        if determinant > 1e-3 * (s0 * sigma) ** 2:
            weight = weight * (s2 - s1 * offset) / determinant
        else:  # nearly alone in time: no slope can be told
            weight = weight / s0
        result[i] = weight @ values[first[i] : last[i]]
    return result


def fill_gaps(
    times: np.ndarray, rows: np.ndarray, states: np.ndarray, scenes: np.ndarray, short: float = np.inf
) -> tuple[np.ndarray, list[str]]:
    """Values for every row from those of some.

    Short gaps are bridged by straight lines. Long ones, both ends of the clip, and what lies next to a scene cut are
    held at the value nearest in time, of the same scene if there is one.

    Args:
        times: of all N rows, s.
        rows: the K rows that have values, ascending.
        states: their values, K x C.
        scenes: number of each row's scene, N.
        short: longest gap, from a row with values to the next, that is bridged by a straight line, s.

    Returns:
        The values of all rows, N x C, and for each row "tracked", "interpolated" or "held".
    """
    filled = np.empty((len(times), states.shape[1]))
    status = ["tracked"] * len(times)
    for row in range(len(times)):
        after = int(np.searchsorted(rows, row))
        if after < len(rows) and rows[after] == row:
            filled[row] = states[after]
            continue
        sides = [side for side in (after - 1, after) if 0 <= side < len(rows)]
        sides = [side for side in sides if scenes[rows[side]] == scenes[row]] or sides
        start, end = times[rows[sides[0]]], times[rows[sides[-1]]]
        one_scene = scenes[rows[sides[0]]] == scenes[rows[sides[-1]]]
        if len(sides) == 2 and one_scene and end - start <= short + 1e-9:
            way = (times[row] - start) / (end - start)
            filled[row] = (1 - way) * states[sides[0]] + way * states[sides[1]]
            status[row] = "interpolated"
        else:
            filled[row] = states[min(sides, key=lambda side: abs(times[rows[side]] - times[row]))]
            status[row] = "held"
    return filled, status
