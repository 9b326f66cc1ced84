"""Statistics, TensorBoard and pictures of a training."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reenact.monitoring.train_logger import TrainLogger
from reenact.training.checkpoint import RunFolder

STEP = {
    "perceptual": 0.5,
    "discriminator": 2.0,
    "gradient_norm": 3.0,
    "discriminator_gradient_norm": 4.0,
    "learning_rate": 5e-5,
    "seconds": 2.0,
    "data_seconds": 1.0,
    "samples_per_second": 4.0,
    "mfu": 0.41,
}


@dataclass
class Learned:
    """A learner whose average does not matter."""

    average: None = None


class Validated:
    """Finds the same every time."""

    def pose_response(self, average):
        return {"pose_response": 0.9}

    def __call__(self, learner):
        return {"validation_dice": 0.5}, {"self": np.zeros((8, 16, 3), np.uint8)}


@pytest.fixture
def logged(tmp_path):
    """Three steps, written every second one, the last of which is validated."""
    run = RunFolder(tmp_path)
    with TrainLogger(run, 1, 3, "test", torch.device("cpu"), Validated()) as logger:
        for step in (1, 2, 3):
            measured = logger.measure(step, Learned(), validate=step == 3) if step > 1 else {}
            logger.log(step, {**STEP, "perceptual": 0.5 * step, **measured}, write=step > 1)
    return run


def test_a_row_is_the_mean_of_the_steps_since_the_last_one(logged):
    rows = logged.stats()
    assert [row["step"] for row in rows] == [2, 3] and [row["perceptual"] for row in rows] == [0.75, 1.5]
    assert [row.get("validation_dice") for row in rows] == [None, 0.5]
    assert [row["pose_response"] for row in rows] == [0.9, 0.9]
    assert rows[0]["peak_memory_mb"] > 10


def test_tensorboard_has_the_same_numbers_and_the_pictures(logged):
    board = EventAccumulator(str(logged.path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = board.Tags()
    assert tags["images"] == ["images/self"]
    assert {
        "losses/perceptual",
        "losses/discriminator",
        "optimizers/gradient_norm",
        "optimizers/discriminator_gradient_norm",
        "optimizers/learning_rate",
        "speed/seconds",
        "speed/data_seconds",
        "speed/samples_per_second",
        "speed/mfu",
        "speed/peak_memory_mb",
        "pose_response",
        "validation/dice",
    } == set(tags["scalars"])
    assert [(event.step, event.value) for event in board.Scalars("losses/perceptual")] == [(2, 0.75), (3, 1.5)]


def test_the_status_line_says_the_share_of_the_ceiling(tmp_path, capsys):
    with TrainLogger(RunFolder(tmp_path), 1, 1, "test", torch.device("cpu")) as logger:
        logger.log(1, STEP, write=True)
    assert "4 samples/s, waiting for data 50%, MFU 41%" in capsys.readouterr().err


def test_without_validation_nothing_is_measured(tmp_path):
    with TrainLogger(RunFolder(tmp_path), 1, 1, "test", torch.device("cpu")) as logger:
        assert logger.measure(1, Learned(), validate=True) == {}
