"""What can be read from descriptors."""

import numpy as np
import pytest

from reenact.evaluation.readouts import COLUMNS, read_measures, readout_correlations


def faces(random, count):
    """Landmarks of faces that open mouth and eyes by chance: a fixed face, whose lips and lids move."""
    face = np.zeros((68, 2))
    face[:17] = np.stack([np.linspace(0.25, 0.75, 17), 0.5 + 0.25 * np.sin(np.linspace(0, np.pi, 17))], 1)
    for first, x in ((17, 0.3), (22, 0.55)):
        face[first : first + 5] = np.stack([x + np.linspace(0, 0.15, 5), np.full(5, 0.36)], 1)
    face[27:31] = np.stack([np.full(4, 0.5), np.linspace(0.42, 0.53, 4)], 1)
    face[31:36] = np.stack([np.linspace(0.45, 0.55, 5), np.full(5, 0.55)], 1)
    for first, x in ((36, 0.33), (42, 0.57)):
        corners = [(0, 0.43), (0.03, 0.42), (0.07, 0.42), (0.1, 0.43), (0.07, 0.44), (0.03, 0.44)]
        face[first : first + 6] = np.add(corners, (x, 0))
    face[48:60] = [(0.42 + 0.16 * k / 6, 0.62) for k in (0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1)]
    face[60:68] = [(0.44 + 0.03 * k, 0.62) for k in (0, 1, 2, 3, 4, 3, 2, 1)]
    lips, lids = random.uniform(0, 0.05, count), random.uniform(0, 0.02, count)
    points = np.repeat(face[None], count, axis=0)
    points[:, 65:68, 1] += lips[:, None]
    points[:, [40, 41, 46, 47], 1] += lids[:, None]
    return points, lips, lids


def test_what_a_descriptor_says_linearly_is_read_and_what_it_does_not_say_is_not():
    random = np.random.default_rng(0)
    mix = random.normal(size=(3, 8))

    def clip(count):
        points, lips, _ = faces(random, count)
        return np.stack([lips * 20, random.normal(size=count), random.normal(size=count)], 1) @ mix, points

    table = readout_correlations(clip(400), [clip(96), clip(96)])
    assert list(table) == list(COLUMNS) and len(table) == 2
    assert (table["mouth"] > 0.99).all() and (table["lids"].abs() < 0.35).all()


def test_a_measure_that_never_changes_has_no_correlation():
    random = np.random.default_rng(1)
    points, lips, _ = faces(random, 50)
    still = points.copy()
    still[:] = points[:1]
    table = readout_correlations((lips[:, None], points), [(lips[:, None], still)])
    assert table.isna().all(axis=None)


def test_measures_of_a_face_turned_and_enlarged():
    """Openings are in eye distances: the same for a larger face; the roll is what it was turned by."""
    points, *_ = faces(np.random.default_rng(2), 1)
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    other = (points - 0.5) @ turn * 1.3 + 0.5
    before, after = (dict(zip(COLUMNS, read_measures(p)[0], strict=True)) for p in (points, other))
    for name in ("mouth", "lids", "mouth_width", "brows"):
        assert after[name] == pytest.approx(before[name], abs=1e-6)
    assert after["roll"] - before["roll"] == pytest.approx(10, abs=1e-3)
