"""Smoothing and intensity: streams give what the whole clip at once would."""

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter

from reenact.rendering.pose_filter import DriverBatch, OneEuro, filter_poses, needs_sample, pose_edit, savgol
from reenact.settings.render import PoseFilterSettings


def walk(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(frames, 5)).cumsum(0)).float()


def stream(poses: torch.Tensor, size: int, fps: float = 25.0):
    for first in range(0, len(poses), size):
        rows = list(range(first, min(first + size, len(poses))))
        yield DriverBatch(rows, [row / fps for row in rows], [np.zeros((2, 2, 3), np.uint8)] * len(rows), poses[rows])


def joined(batches) -> torch.Tensor:
    found = list(batches)
    assert [row for batch in found for row in batch.rows] == list(range(sum(len(batch.rows) for batch in found)))
    return torch.cat([batch.pose for batch in found])


@pytest.mark.parametrize("frames", [1, 3, 8, 9, 10, 17, 60])
@pytest.mark.parametrize("size", [1, 4, 8, 64])
def test_savgol_in_a_stream_is_that_of_the_whole_clip(frames: int, size: int) -> None:
    poses = walk(frames)
    width = min(9, frames - (frames + 1) % 2)
    whole = savgol_filter(poses.double().numpy(), width, 2, axis=0) if width > 2 else poses.numpy()
    assert joined(savgol(stream(poses, size), 9, 2)).numpy() == pytest.approx(whole, abs=1e-4)


def test_savgol_waits_for_half_a_window_only() -> None:
    source = stream(walk(10_000), 8)
    taken = 0

    def counted():
        nonlocal taken
        for batch in source:
            taken += len(batch.rows)
            yield batch

    for number, _ in zip(range(40), savgol(counted(), 9, 2), strict=False):
        assert taken <= 8 * number + 8 + 4 + 8


@pytest.mark.parametrize("size", [1, 7])
def test_one_euro_calms_rest_and_follows_speed(size: int) -> None:
    noise = 0.1 * torch.from_numpy(np.random.default_rng(1).normal(size=(200, 5))).float()
    turn = torch.cat([torch.zeros(100, 1), 20 * torch.ones(100, 1)])
    settings = PoseFilterSettings(smoothing="one_euro", cutoff=1.0, beta=5.0)
    found = joined(filter_poses(stream(noise + turn, size), settings, turn))
    assert found[50:100].std() < 0.5 * noise[50:100].std()
    assert float(found[108].mean()) > 18, "a jump has arrived after a third of a second"
    assert found.numpy() == pytest.approx(
        joined(filter_poses(stream(noise + turn, 3), settings, turn)).numpy(), abs=1e-6
    )


def test_one_euro_by_hand() -> None:
    smooth = OneEuro(cutoff=1.0, beta=0.0)
    alpha = 1 / (1 + 1 / (2 * np.pi * 0.1))
    assert smooth(0.0, np.array([1.0])) == pytest.approx([1.0])
    assert smooth(0.1, np.array([2.0])) == pytest.approx([1 + alpha])
    assert smooth(0.1, np.array([5.0])) == pytest.approx([5.0]), "no time has passed: it starts anew"


def test_intensity_scales_about_the_mean() -> None:
    poses = walk(20)
    mean = poses.mean(0)
    for intensity in (0.0, 0.5, 2.0):
        found = joined(filter_poses(stream(poses, 8), PoseFilterSettings(intensity=intensity), poses))
        assert found.numpy() == pytest.approx((mean + intensity * (poses - mean)).numpy(), abs=1e-5)
    assert torch.equal(joined(filter_poses(stream(poses, 8), PoseFilterSettings(), poses)), poses), (
        "off by default: bit for bit"
    )


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"smoothing": "savgol"}, False),
        ({"smoothing": "one_euro"}, True),
        ({"intensity": 0.5}, True),
        ({"relative": True}, True),
        ({"retarget": ["lips"]}, True),
        ({"follow": "head_only", "controls": {"smile": 0.5}}, False),
    ],
)
def test_a_driver_is_sampled_where_that_changes_something(settings: dict, needed: bool) -> None:
    chosen, poses = PoseFilterSettings(**settings), walk(20)
    assert needs_sample(chosen) is needed
    if not needed:
        with_it, without = (joined(filter_poses(stream(poses, 8), chosen, sample)) for sample in (poses, None))
        assert torch.equal(with_it, without)
        assert pose_edit(chosen, None).gains == pose_edit(chosen, poses).gains


def test_the_default_edits_nothing() -> None:
    assert pose_edit(PoseFilterSettings(), walk(3)).does_nothing


@pytest.mark.parametrize(
    ("settings", "gains"),
    [
        ({"follow": "expression_only"}, {"mouth": 1, "eyes": 1, "brows": 1, "head": 0}),
        ({"follow": "head_only"}, {"mouth": 0, "eyes": 0, "brows": 0, "head": 1}),
        ({"follow": "head_only", "gains": {"head": 0.5, "mouth": 2}}, {"mouth": 0, "eyes": 0, "brows": 0, "head": 0.5}),
        ({"gains": {"mouth": 1.5}}, {"mouth": 1.5, "eyes": 1, "brows": 1, "head": 1}),
    ],
)
def test_what_is_followed_becomes_gains(settings: dict, gains: dict[str, float]) -> None:
    edit = pose_edit(PoseFilterSettings(**settings), walk(3))
    assert edit.gains == gains and not edit.does_nothing


def test_the_driver_is_given_along() -> None:
    sample = walk(5)
    edit = pose_edit(PoseFilterSettings(relative=True, retarget=["eyes"], controls={"smile": 0.5}), sample)
    assert edit.relative and edit.retarget == ("eyes",) and edit.controls == {"smile": 0.5} and edit.driver is sample


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="must be odd"):
        PoseFilterSettings(window=8)
    with pytest.raises(ValueError, match="below the window"):
        PoseFilterSettings(window=3, order=4)
    for wrong in ({"gains": {"head": -1}}, {"gains": {"nose": 1}}, {"follow": "nothing"}, {"retarget": ["ears"]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PoseFilterSettings(**wrong)
