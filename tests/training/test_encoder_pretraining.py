"""Pretraining of the pose encoder."""

import numpy as np
import pytest
import torch

from reenact.data.expressions import MEASURES
from reenact.models.face_encoder import FaceEncoder
from reenact.settings.pretrain import PretrainSettings
from reenact.training import encoder_pretraining
from reenact.training.checkpoint import RunFolder
from reenact.training.encoder_pretraining import WEIGHTS, EncoderTraining, measure_distance


class Samples:
    """A bright spot whose place is two of the measures; the others are 0."""

    def draw(self, count, seed):
        random = np.random.default_rng(seed)
        places = random.integers(64, 192, (count, 2))
        frames = torch.zeros(count, 3, 256, 256)
        wanted = torch.zeros(count, len(MEASURES))
        for frame, target, (x, y) in zip(frames, wanted, places.tolist(), strict=True):
            frame[:, y - 24 : y + 24, x - 24 : x + 24] = 1
            target[MEASURES.index("x")], target[MEASURES.index("y")] = (x - 128) / 40, (y - 128) / 40
        return frames, wanted

    def scale(self):
        return torch.full((len(MEASURES),), 2.0), torch.full((len(MEASURES),), 5.0)


def training(steps, **settings):
    torch.manual_seed(0)
    values = {"steps": steps, "batch_size": 4, "outputs": 16, "checkpoint_every": 2}
    return EncoderTraining(FaceEncoder(16), Samples(), PretrainSettings(**values | settings))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The trunk learns from the second step on."""
    monkeypatch.setattr(encoder_pretraining, "HEAD_STEPS", 1)
    monkeypatch.setattr(encoder_pretraining, "RISE", 1)
    monkeypatch.setattr(encoder_pretraining, "_MEASURED", 8)


def test_equal_measures_have_no_distance_and_all_count():
    assert len(WEIGHTS) == len(MEASURES) and (WEIGHTS > 0).all()
    values = torch.randn(5, len(MEASURES))
    assert measure_distance(values, values) == 0
    for column in (0, 51, 52, 63):
        other = values.clone()
        other[:, column] += 1
        # smooth L1 with beta 0.3 of an error of 1: 0.85
        torch.testing.assert_close(measure_distance(other, values), 0.85 * WEIGHTS[column])


def test_resumed_training_equals_training_in_one_go(tmp_path):
    whole = training(4)
    whole.train(RunFolder(tmp_path / "whole"))
    interrupted = training(4)
    run = RunFolder(tmp_path / "interrupted")
    make_step = interrupted._make_step

    def killed(step):
        if step == 3:
            raise KeyboardInterrupt
        return make_step(step)

    interrupted._make_step = killed
    with pytest.raises(KeyboardInterrupt):
        interrupted.train(run)
    resumed = training(4)
    torch.manual_seed(99)
    resumed.train(run)
    for part in ("encoder", "readout"):
        ours, theirs = (getattr(one, part).state_dict() for one in (resumed, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert [row["step"] for row in run.stats()] == [1, 2, 3, 4]


def test_the_trunk_rests_at_first(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_pretraining, "HEAD_STEPS", 2)
    one = training(2)
    before = [p.clone() for p in one.encoder.trunk.parameters()]
    head = one.encoder.head[-1].weight.clone()
    one.train(RunFolder(tmp_path))
    assert all(torch.equal(p, q) for p, q in zip(before, one.encoder.trunk.parameters(), strict=True))
    assert not torch.equal(head, one.encoder.head[-1].weight)


def test_the_readout_is_in_the_measures_own_units():
    one = training(1)
    values = torch.randn(3, 16)
    with torch.no_grad():
        torch.testing.assert_close(one.readout_in_units()(values), one.readout(values) * 2 + 5)
