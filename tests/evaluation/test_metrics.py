"""Metrics against values worked out by hand, an independent library, and sanity cases."""

from itertools import islice

import av
import cv2
import numpy as np
import pytest
import torch
from person_clips import portrait
from scipy.spatial import procrustes
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from reenact.evaluation import metrics
from reenact.evaluation.descriptor import load_descriptor
from reenact.faces.landmarks import eye_opening, mouth_opening
from reenact.faces.mediapipe_faces import FaceFinder

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


def test_csim_by_hand() -> None:
    outputs = np.array([[2.0, 0, 0], [0, 3, 0], [np.nan] * 3])
    references = np.array([[1.0, 0, 0], [0, 1, 0]])
    assert metrics.csim(outputs, references) == pytest.approx(np.sqrt(0.5))
    assert metrics.csim(outputs[:1], 7 * outputs[:1]) == pytest.approx(1)
    assert np.isnan(metrics.csim(outputs, references[:0]))


def test_aligned_error_sees_expression_alone() -> None:
    truth = np.stack([face(1)] * 2)
    turn = np.deg2rad(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert metrics.aligned_error(1.3 * truth @ rotation.T + (40, -20), truth) == pytest.approx(0, abs=1e-9)
    mirrored = truth * (-1, 1)
    assert metrics.aligned_error(mirrored, truth) > 0.2, "mirroring is no similarity"
    # Against an independent library, whose sum of squares is over shapes of unit size.
    other = face(2)
    _, _, disparity = procrustes(truth[0], other)
    ours, true = ((points - points.mean(axis=0)) for points in (other, truth[0]))
    u, _, vt = np.linalg.svd(ours.T @ true)
    if np.linalg.det(u @ vt) > 0:  # scipy may mirror
        fitted = (u @ vt) * (np.linalg.svd(ours.T @ true)[1].sum() / (ours**2).sum())
        assert ((ours @ fitted - true) ** 2).sum() / (true**2).sum() == pytest.approx(disparity)
        expected = np.linalg.norm(ours @ fitted - true, axis=1).mean() / 100
        assert metrics.aligned_error(other[None], truth[:1]) == pytest.approx(expected)


def test_openings_by_hand() -> None:
    landmarks = np.zeros((2, 68, 2))
    landmarks[:, 36], landmarks[:, 45] = (0, 0), (100, 0)
    for first, x in ((36, 0), (42, 70)):
        landmarks[:, first : first + 6] = [(x, 0), (x + 10, -3), (x + 20, -3), (x + 30, 0), (x + 20, 3), (x + 10, 3)]
    landmarks[0, 61:64], landmarks[0, 65:68] = [(40, 50), (50, 50), (60, 50)], [(60, 55), (50, 55), (40, 55)]
    assert eye_opening(landmarks) == pytest.approx([0.2, 0.2])
    assert mouth_opening(landmarks)[0] == pytest.approx(0.05)


def test_correlation() -> None:
    series = np.sin(np.arange(30))
    assert metrics.correlation(3 * series + 1, series) == pytest.approx(1)
    assert metrics.correlation(-series, series) == pytest.approx(-1)
    assert metrics.correlation(np.ones(30), series) == 0
    assert np.isnan(metrics.correlation(series, np.ones(30)))
    series[4] = np.nan
    assert metrics.correlation(series, np.sin(np.arange(30))) == pytest.approx(1), "a frame without a face is left out"


def test_pictures_are_measured_in_the_box_of_the_true_matte() -> None:
    truth, mattes = RANDOM.random((1, 64, 64, 3)), np.zeros((1, 64, 64))
    mattes[0, 20:50, 10:40] = 1
    outside = truth.copy()
    outside[0, :20] = 0
    assert metrics.psnr(outside, truth, mattes) == metrics.MAX_PSNR
    assert metrics.psnr(outside, truth) < 20
    assert metrics.ssim(outside, truth, mattes) == pytest.approx(1)
    inside = np.clip(truth + RANDOM.normal(0, 0.1, truth.shape), 0, 1)
    tensors = [torch.from_numpy(x[:, 20:50, 10:40]).permute(0, 3, 1, 2) for x in (inside, truth)]
    assert metrics.psnr(inside, truth, mattes) == pytest.approx(
        float(peak_signal_noise_ratio(*tensors, data_range=1.0)), rel=1e-4
    )


def test_boxes_are_large_enough_and_inside() -> None:
    mattes = np.zeros((3, 64, 64))
    mattes[0, 62:, 63:] = 1
    mattes[1, 5:60, 30:33] = 1
    boxes = metrics.matte_boxes(mattes)
    assert boxes[0] == (slice(48, 64), slice(48, 64))
    assert boxes[1][0] == slice(5, 60) and boxes[1][1].stop - boxes[1][1].start == metrics.MIN_BOX
    assert boxes[2] == (slice(0, 64), slice(0, 64)), "an empty matte"


def test_sharpness_falls_with_blur_and_ignores_the_outline() -> None:
    images, mattes = RANDOM.random((2, 64, 64, 3)), np.zeros((2, 64, 64))
    mattes[:, 10:50, 10:50] = 1
    images *= mattes[..., None]
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in images])
    assert metrics.sharpness(images, mattes, images, mattes) == 1
    assert metrics.sharpness(blurred, mattes, images, mattes) < 0.2
    flat = np.full_like(images, 0.5) * mattes[..., None]
    assert metrics.sharpness(flat, mattes, images, mattes) == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def woman(demo_media, descriptor_weights) -> dict[str, np.ndarray]:
    """Landmarks of real frames, every third of two seconds of speech, 256 px about the face, and mirrored."""
    with av.open(str(demo_media("WolfgangLanger_Pexels.mp4"))) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(video.decode(video=0), 48, 96, 3)]
    descriptor = load_descriptor("dlib", descriptor_weights)
    with FaceFinder() as finder:
        left, top, right, bottom = finder.find(frames[0])[0].box
        x, y, side = int((left + right) / 2), int((top + bottom) / 2), int(bottom - top)
        crops = [cv2.resize(f[max(0, y - side) : y + side, max(0, x - side) : x + side], (256, 256)) for f in frames]
        found = {
            "plain": crops,
            "mirrored": [np.ascontiguousarray(crop[:, ::-1]) for crop in crops],
            "other": [portrait()] * 2,
        }
        landmarks = {
            name: np.stack([finder.find(image)[0].landmarks for image in images]).astype(float)
            for name, images in found.items()
        }
    described = {
        f"{name} descriptors": np.stack(
            [
                descriptor.describe(image, points)
                for image, points in zip(found[name][:2], landmarks[name][:2], strict=True)
            ]
        )
        for name in found
    }
    return landmarks | described


def test_each_sanity_case_moves_its_own_metric(woman: dict[str, np.ndarray]) -> None:
    plain, runs = woman["plain"], np.zeros(len(woman["plain"]), int)
    frozen, late, mirrored = plain[[0] * len(plain)], plain[[0, *range(len(plain) - 1)]], woman["mirrored"]
    assert metrics.pose_error(plain, plain) == metrics.motion_error(plain, plain) == 0
    assert metrics.aligned_error(plain, plain) == pytest.approx(0, abs=1e-9)
    assert metrics.jitter(plain, plain, runs) == 1 and metrics.mouth_correlation(plain, plain) == pytest.approx(1)
    # Frozen: looks right, does not move.
    assert metrics.jitter(frozen, plain, runs) == 0 and metrics.mouth_correlation(frozen, plain) == 0
    # One frame late: wrong everywhere, but less than frozen, and as calm as the driver.
    for measure in (metrics.pose_error, metrics.motion_error, metrics.aligned_error):
        assert 0 < measure(late, plain) < measure(frozen, plain)
    assert metrics.mouth_correlation(late, plain) < 1 and 0.7 < metrics.jitter(late, plain, runs) < 1.3
    # Mirrored: eyes and mouth open as they do, but heads turn the other way.
    assert metrics.motion_error(mirrored, plain) > metrics.motion_error(late, plain)
    assert metrics.mouth_correlation(mirrored, plain) > 0.6
    # Swapped identity: nothing but the identity moves.
    own, mirror, other = (woman[f"{name} descriptors"] for name in ("plain", "mirrored", "other"))
    assert (
        metrics.identity_error(own[:1], own)
        < metrics.identity_error(mirror, own)
        < metrics.identity_error(other, own) / 2
    )
    assert metrics.csim(own, own) > metrics.csim(mirror, own) > metrics.csim(other, own)
