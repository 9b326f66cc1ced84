"""Metrics against values worked out by hand, an independent library, and sanity cases."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from reenact import metrics

RANDOM = np.random.default_rng(0)
RUN = np.zeros(40, int)


def face(shape_seed: int = 1) -> np.ndarray:
    """A face shape: 68 x 2, outer eye corners exactly 100 px apart."""
    points = np.random.default_rng(shape_seed).uniform(-80, 80, (68, 2))
    points[36], points[45] = (-50, 0), (50, 0)
    return points


def sway(count: int = 40) -> np.ndarray:
    """Head and mouth movement: N x 68 x 2 offsets, px."""
    time = np.linspace(0, 4 * np.pi, count)
    offsets = np.zeros((count, 68, 2))
    offsets[..., 0] += 10 * np.sin(time)[:, None]
    offsets[:, 48:, 1] += 6 * np.abs(np.sin(2 * time))[:, None]
    return offsets


def test_identity_error_by_hand() -> None:
    outputs = np.array([[2.0, 0, 0], [0, 3, 0]])
    references = np.array([[1.0, 0, 0], [1, 1, 0]])
    expected = 1 - (1 + np.sqrt(0.5) + 0 + np.sqrt(0.5)) / 4
    assert metrics.identity_error(outputs, references) == pytest.approx(expected)
    assert metrics.identity_error(outputs[:1], 5 * outputs[:1]) == pytest.approx(0)


def test_identity_error_leaves_failures_out() -> None:
    outputs = np.array([[1.0, 0], [np.nan, np.nan]])
    assert metrics.identity_error(outputs, np.array([[1.0, 0]])) == pytest.approx(0)
    assert np.isnan(metrics.identity_error(outputs[1:], outputs[:1]))


def test_failed_share() -> None:
    landmarks = np.stack([face()] * 4)
    landmarks[1] = np.nan
    assert metrics.failed_share(landmarks) == 0.25


def test_pose_error_by_hand() -> None:
    truth = np.stack([face(), face()])
    output = truth.copy()
    output[0] += (3, 4)  # 5 px of 100
    assert metrics.pose_error(output, truth) == pytest.approx(0.025)
    assert metrics.pose_error(truth, truth) == 0
    output[1] = np.nan
    assert metrics.pose_error(output, truth) == pytest.approx(0.05)


def test_motion_error_ignores_face_shape_and_size_but_not_motion() -> None:
    driver = face(1) + sway()
    # The eye distance scales motion: a face twice as large makes the same movement with twice the pixels.
    other = 2 * (face(2) + sway()) + (30, 40)
    assert metrics.motion_error(other, driver) == pytest.approx(0, abs=1e-9)
    frozen = np.repeat(driver[:1], len(driver), axis=0)
    amount = np.linalg.norm(metrics.motion(driver), axis=-1).mean()
    assert metrics.motion_error(frozen, driver) == pytest.approx(amount)
    assert amount > 0.03


def test_motion_error_of_mirrored_shifted_and_damped() -> None:
    driver = face() + sway()
    mirrored = face() - sway()
    late = np.roll(driver, 1, axis=0)
    damped = face() + 0.5 * sway()
    errors = [metrics.motion_error(x, driver) for x in (driver, late, damped, mirrored)]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert metrics.motion_error(mirrored, driver) == pytest.approx(4 * metrics.motion_error(damped, driver))


def test_motion_error_uses_frames_with_both_faces() -> None:
    driver = face(1) + sway()
    output = face(2) + sway()
    output[3], driver[7] = np.nan, np.nan
    assert metrics.motion_error(output, driver) == pytest.approx(0, abs=1e-9)
    assert np.isnan(metrics.motion_error(np.full_like(output, np.nan), driver))


def test_acceleration_by_hand() -> None:
    landmarks = np.zeros((5, 68, 2))
    landmarks[:, :, 0] = np.array([0, 1, 4, 9, 16])[:, None]
    assert metrics.acceleration(landmarks, [0] * 5) == pytest.approx(np.full((3, 68), 2.0))
    assert metrics.acceleration(landmarks, [0, 0, 0, 1, 1]).shape == (1, 68), "no difference crosses runs"


def test_jitter() -> None:
    driver = face(1) + sway()
    assert metrics.jitter(driver, driver, RUN) == pytest.approx(1)
    assert metrics.jitter(face(2) + 2 * sway(), driver, RUN) == pytest.approx(2)
    assert metrics.jitter(np.repeat(driver[:1], 40, axis=0), driver, RUN) == 0
    trembling = driver + RANDOM.normal(0, 3, driver.shape)
    assert metrics.jitter(trembling, driver, RUN) > 2
    assert np.isnan(metrics.jitter(driver, np.repeat(driver[:1], 40, axis=0), RUN))
    assert np.isnan(metrics.jitter(driver[:2], driver[:2], RUN[:2]))


def test_psnr_and_ssim_agree_with_torchmetrics() -> None:
    truth = RANDOM.random((3, 48, 48, 3)).astype(np.float32)
    output = np.clip(truth + RANDOM.normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in (output, truth)]
    expected = peak_signal_noise_ratio(*tensors, data_range=1.0, dim=(1, 2, 3))
    assert metrics.psnr(output, truth) == pytest.approx(float(expected), rel=1e-4)
    expected = structural_similarity_index_measure(*tensors, data_range=1.0)
    # The two treat the outermost pixels differently.
    assert metrics.ssim(output, truth) == pytest.approx(float(expected), abs=0.01)


def test_psnr_and_ssim_of_equal_images() -> None:
    images = RANDOM.random((2, 32, 32, 3))
    assert metrics.psnr(images, images) == pytest.approx(100)
    assert metrics.ssim(images, images) == pytest.approx(1)
    assert metrics.psnr(np.zeros((1, 8, 8, 3)), np.full((1, 8, 8, 3), 0.1)) == pytest.approx(20)


def test_matte_iou_by_hand() -> None:
    ours, true = np.zeros((2, 4, 4)), np.zeros((2, 4, 4))
    ours[0, :2], true[0, 1:3] = 1, 0.9  # 1 of 3 rows in common
    assert metrics.matte_iou(ours, true) == pytest.approx((1 / 3 + 1) / 2), "two empty mattes agree"
