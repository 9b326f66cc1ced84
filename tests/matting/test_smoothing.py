"""Mattes are steadied over time."""

import numpy as np
import pytest

from reenact.matting.smoothing import MatteFrame, smooth_matte, with_neighbours


def test_smoothing_is_over_time_and_not_over_change():
    still = np.full((64, 64, 3), 100, np.uint8)
    times = [0.0, 0.04, 0.08, 5.0]
    values = [0.0, 0.6, 0.0, 0.9]

    def run(pictures, sigma=0.04, scenes=(0, 0, 0, 0)):
        frames = [
            MatteFrame(n, t, s, np.full((8, 8), v, np.float32), p)
            for n, (t, s, v, p) in enumerate(zip(times, scenes, values, pictures, strict=True))
        ]
        return {
            frame.row: float(smooth_matte(frame, neighbours, sigma).mean())
            for frame, neighbours in with_neighbours(frames, sigma)
        }

    same = run([still] * 4)
    assert list(same) == [0, 1, 2, 3]
    assert 0.1 < same[0] < 0.3 and 0.2 < same[1] < 0.4 and same[3] == pytest.approx(0.9), "frames far apart do not meet"
    changed = run([still, still + 100, still + 100, still])
    assert changed[0] == pytest.approx(0, abs=1e-3)
    assert run([still] * 4, scenes=(0, 1, 1, 1))[0] == 0, "nor do scenes"
    assert run([still] * 4, sigma=0.0) == pytest.approx(dict(enumerate(values)))
