"""Augmentation as published: what changes the driving frame alone, it and its target, and nothing."""

import numpy as np
import pytest
import torch
from people import COLOURS, disc

from reenact.data.augment import Augmentation
from reenact.data.samples import Batch
from reenact.settings.training import AugmentSettings

NONE = {"pose": 0.0, "joint": 0.0, "colour": 0.0}


def batch_of(count, size=64):
    picture, matte = (torch.from_numpy(image).float() / 255 for image in disc(COLOURS["red"], 0.5, 0.5, size))
    driver, matte = picture.permute(2, 0, 1).expand(count, -1, -1, -1), matte.expand(count, 1, -1, -1)
    return Batch(driver[:, None], driver, driver * matte, matte, torch.zeros(count, dtype=torch.long), matte)


def changed(batch, **values):
    torch.manual_seed(0)
    return Augmentation(AugmentSettings(**NONE | values))(batch)


def extent(mattes):
    """First and last column, and first and last row, of each disc, px."""
    solid = mattes[:, 0] > 0.5
    return [(np.flatnonzero(m.any(0))[[0, -1]], np.flatnonzero(m.any(1))[[0, -1]]) for m in solid.numpy()]


def test_none_changes_nothing():
    batch = batch_of(4)
    same = changed(batch)
    assert (
        torch.equal(same.driver, batch.driver)
        and torch.equal(same.target, batch.target)
        and torch.equal(same.matte, batch.matte)
    )


def test_x_and_y_are_scaled_apart_in_half_of_the_frames_and_the_target_is_not():
    batch = batch_of(200, size=128)
    augmentation = Augmentation(AugmentSettings(**NONE | {"pose": 1.0}))
    scale = next(change for change in augmentation.pose if type(change).__name__ == "RandomAffine")
    torch.manual_seed(0)
    moved = scale(batch.matte)
    sides = np.array([[x[1] - x[0] + 1, y[1] - y[0] + 1] for x, y in extent(moved)]) / 128
    before = extent(batch.matte[:1])[0]
    ratio = sides / ((before[0][1] - before[0][0] + 1) / 128)
    assert 0.78 < ratio.min() < 0.85 and 1.15 < ratio.max() < 1.24
    assert np.abs(np.corrcoef(ratio[(ratio != 1).any(1)].T)[0, 1]) < 0.3
    assert 0.4 < (ratio != 1).any(1).mean() < 0.6
    whole = changed(batch, pose=1.0)
    assert (
        torch.equal(whole.target, batch.target)
        and torch.equal(whole.matte, batch.matte)
        and torch.equal(whole.identity_frames, batch.identity_frames)
    )


def test_published_joint_change_is_a_shift_of_5_per_cent_of_all_alike():
    settings = AugmentSettings(form="published", pose=0.0)
    assert (settings.joint, settings.rotation, settings.scale, settings.shift) == (0.5, 0.0, 0.0, 0.05)
    assert AugmentSettings(form="published", joint=1.0).joint == 1.0
    batch = batch_of(200)
    torch.manual_seed(0)
    moved = Augmentation(settings)(batch)
    middles = np.array([[x.mean(), y.mean()] for x, y in extent(moved.matte)]) / 64 - 0.5
    assert 0.035 < np.abs(middles).max() < 0.06
    assert 0.35 < (np.abs(middles).max(1) > 0.012).mean() < 0.6
    torch.testing.assert_close(moved.target, moved.driver * moved.matte, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.emphasis, moved.matte)
    torch.testing.assert_close(moved.matte.sum((1, 2, 3)), batch.matte.sum((1, 2, 3)), rtol=0.02, atol=0)
    assert torch.equal(moved.identity_frames, batch.identity_frames)


@pytest.mark.parametrize(
    "kind",
    [
        "ColorJiggle",
        "RandomGaussianBlur",
        "RandomGaussianNoise",
        "RandomJPEG",
        "RandomAffine",
        "RandomElasticTransform",
    ],
)
def test_each_published_change_happens_now_and_then(kind):
    batch = batch_of(64)
    change = next(change for change in Augmentation(AugmentSettings()).pose if type(change).__name__ == kind)
    torch.manual_seed(0)
    moved = (change(batch.driver) - batch.driver).abs().flatten(1).amax(1) > 0.01
    assert 0 < moved.float().mean() < 0.95


def test_elastic_jitter_moves_no_feature_far():
    batch = batch_of(8, size=256)
    augmentation = Augmentation(AugmentSettings())
    elastic = next(change for change in augmentation.pose if type(change).__name__ == "RandomElasticTransform")
    elastic.p = 1.0
    torch.manual_seed(0)
    moved = elastic(batch.matte)
    for (x, y), (x0, y0) in zip(extent(moved), extent(batch.matte), strict=True):
        assert max(abs(x - x0).max(), abs(y - y0).max()) <= 4
    assert (moved - batch.matte).abs().max() > 0.1
