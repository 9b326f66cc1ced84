"""The way of a square through time."""

import numpy as np

from reenact.faces.square_path import fill_gaps, smooth


def test_smooth_keeps_straight_ways_and_has_no_lag():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.08, 60))
    straight = np.column_stack([3 * times, 100 - times])
    np.testing.assert_allclose(smooth(times, straight, 0.2), straight, atol=1e-9)
    bump = np.exp(-((times - times[30]) ** 2) / 0.1)[:, None]
    result = smooth(times, bump, 0.1)
    assert abs(int(np.argmax(result)) - 30) <= 1 and result.max() < bump.max()
    np.testing.assert_array_equal(smooth(times, bump, 0.0), bump)


def test_gaps_are_held_at_cuts():
    one = np.zeros(6, int)
    states, status = fill_gaps(
        np.arange(6.0), np.array([1, 5]), np.array([[10.0], [50.0]]), np.array([0, 0, 0, 0, 1, 1])
    )
    assert list(states[:, 0]) == [10, 10, 10, 10, 50, 50]
    assert status == ["held", "tracked", "held", "held", "held", "tracked"]
    states, status = fill_gaps(np.arange(6.0), np.array([1, 5]), np.array([[10.0], [50.0]]), one, short=3.0)
    assert list(states[:, 0]) == [10, 10, 10, 10, 50, 50] and status[3] == "held"
    states, status = fill_gaps(np.arange(6.0), np.array([1, 5]), np.array([[10.0], [50.0]]), one)
    assert list(states[:, 0]) == [10, 10, 20, 30, 40, 50] and status[2] == "interpolated"
