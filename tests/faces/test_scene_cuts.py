"""Cuts of the scene are seen, and moving heads are none."""

import numpy as np

from reenact.faces.scene_cuts import find_cuts, same_place, scene_change, scene_numbers


def test_cuts_are_single_large_changes():
    changes = np.full(50, 2.0)
    changes[20] = 40
    assert find_cuts(changes) == [20]
    assert find_cuts(np.full(50, 30.0)) == []  # the whole picture moves all the time
    assert scene_numbers([2, 4], 5).tolist() == [0, 0, 1, 1, 2]


def test_a_head_that_moves_is_no_cut():
    rng = np.random.default_rng(0)
    before = rng.integers(60, 200, (16, 16)).astype(np.uint8)
    after = before.copy()
    after[:, :8] = rng.integers(60, 200, (16, 8))
    assert same_place(before, after) and find_cuts(np.array([0.0, 1, 1, scene_change(before, after), 1])) == []
    other = rng.integers(60, 200, (16, 16)).astype(np.uint8)
    assert not same_place(before, other) and find_cuts(np.array([0.0, 1, 1, scene_change(before, other), 1])) == [3]
    # Black bars are no place.
    before[:, 2:14], other[:, 2:14] = 0, 0
    assert not same_place(before, other)
