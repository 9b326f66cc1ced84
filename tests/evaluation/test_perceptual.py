"""The perceptual distance of scores."""

import numpy as np
import pytest
from torch import Tensor

from reenact.evaluation.perceptual import perceptual_error


class Counting:
    """A distance that says how large the two pictures are, and counts."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def distance(self, first: Tensor, second: Tensor) -> float:
        self.asked += 1
        assert first.shape == second.shape and first.shape[:2] == (1, 3)
        return float((first - second).abs().max())


def test_the_network_sees_boxes_of_frames_that_differ_from_their_truth() -> None:
    truth = np.random.default_rng(0).integers(0, 200, (3, 64, 64, 3)).astype(np.uint8)
    mattes = np.zeros((3, 64, 64))
    mattes[:, 10:40, 20:60] = 1
    output, network = truth.copy(), Counting()
    output[0, 12, 30] += 51  # inside the box
    output[1, 5, 5] += 51  # outside of it
    assert perceptual_error(network, output, truth, mattes) == pytest.approx(0.2 / 3)
    assert network.asked == 1
