"""How far an avatar is from the person and from its driver: plain functions on arrays, one definition each.

Conventions: landmarks are N x 68 x 2 in px (the 68 points of Multi-PIE/iBUG), one row a frame; a frame whose face was
not found is NaN throughout and is left out of every mean (count it with `failed_share`: the published script replaced
it by a default face, which biases the error). Images are N x H x W x 3 float in [0, 1]. All results are plain floats;
NaN where nothing could be measured.

Sources: [LPD] Burkov et al., Neural Head Reenactment with Latent Pose Descriptors, CVPR 2020, section 4 and the
authors' script `compute_pose_identity_error.py`.
"""

from collections.abc import Sequence

import numpy as np
from skimage.metrics import structural_similarity

OUTER_EYE_CORNERS = (36, 45)
"""Indices of the outer eye corners among the 68 points."""


def _mean(values: np.ndarray) -> float:
    """Mean of the numbers in `values`, NaN (and no warning) where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners of each frame, px: N x 68 x 2 -> N."""
    left, right = OUTER_EYE_CORNERS
    return np.linalg.norm(landmarks[:, left] - landmarks[:, right], axis=-1)


def failed_share(landmarks: np.ndarray) -> float:
    """Share of frames in which no face was found, 0 to 1."""
    return float(np.isnan(landmarks).any(axis=(1, 2)).mean()) if len(landmarks) else float("nan")


def identity_error(descriptors: np.ndarray, references: np.ndarray) -> float:
    """1 - mean cosine of face descriptors over all pairs (output frame, real frame); 0 = same, no unit [LPD].

    The mean of cosines over all pairs, not the cosine to a mean descriptor: as published, where unit descriptors of
    the real person are averaged and not normalised again. So it is not 0 for the real person either.

    Args:
        descriptors: of the output, N x D; NaN rows (no face) are left out.
        references: of real frames of the person, M x D; NaN rows are left out.
    """
    outputs, real = _unit(descriptors), _unit(references)
    if not len(outputs) or not len(real):
        return float("nan")
    return float(1 - (outputs @ real.mean(axis=0)).mean())


def _unit(descriptors: np.ndarray) -> np.ndarray:
    known = descriptors[~np.isnan(descriptors).any(axis=1)].astype(np.float64)
    return known / np.linalg.norm(known, axis=1, keepdims=True)


def pose_error(output: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the 68 landmarks to those of the true frame, in outer-eye distances of the true frame [LPD].

    For self-driving only: it sees face shape, head pose and expression alike.
    """
    distance = np.linalg.norm(output - truth, axis=-1).mean(axis=1)
    return _mean(distance / np.maximum(eye_distance(truth), 1e-2))


def motion(landmarks: np.ndarray) -> np.ndarray:
    """Each landmark's offset from its own mean over the sequence, in mean outer-eye distances: N x 68 x 2."""
    centred = landmarks - np.nanmean(landmarks, axis=0, keepdims=True)
    return centred / max(float(np.nanmean(eye_distance(landmarks))), 1e-2)


def motion_error(output: np.ndarray, driver: np.ndarray) -> float:
    """Mean distance between the landmark motion of output and driver, in outer-eye distances.

    Both sequences lose their own mean face and are divided by their own mean eye distance first (over the frames in
    which both faces were found), so that another person's face shape and size do not count, and every movement within
    the crop does: head, jaw, brows. A still picture scores the driver's mean amount of motion. The pose error of
    self-driving made fit for two different people; our own definition.
    """
    both = ~(np.isnan(output).any(axis=(1, 2)) | np.isnan(driver).any(axis=(1, 2)))
    if both.sum() < 2:
        return float("nan")
    return float(np.linalg.norm(motion(output[both]) - motion(driver[both]), axis=-1).mean())


def acceleration(landmarks: np.ndarray, runs: Sequence[int] | np.ndarray) -> np.ndarray:
    """Size of the second difference of each landmark over time, px per frame^2.

    Args:
        landmarks: N x 68 x 2, in order of time.
        runs: number of the run of consecutive frames that each row belongs to; no difference crosses runs.

    Returns:
        K x 68 for the K triples of consecutive frames; NaN where a face is missing.
    """
    runs = np.asarray(runs)
    within = (runs[:-2] == runs[1:-1]) & (runs[1:-1] == runs[2:])
    second = landmarks[:-2] - 2 * landmarks[1:-1] + landmarks[2:]
    return np.linalg.norm(second[within], axis=-1)


def jitter(output: np.ndarray, driver: np.ndarray, runs: Sequence[int] | np.ndarray) -> float:
    """Temporal jitter: mean landmark acceleration of the output / of the driver, each in its own eye distances.

    1 = as calm as the driver (whose own detection noise is in it), above = trembles, below = damped. Only triples of
    frames in which both faces were found count. NaN without such a triple or for a driver that does not move.
    """
    ours, theirs = acceleration(output, runs), acceleration(driver, runs)
    both = ~(np.isnan(ours).any(axis=1) | np.isnan(theirs).any(axis=1))
    if not both.any():
        return float("nan")
    still = theirs[both].mean() / np.nanmean(eye_distance(driver))
    moved = ours[both].mean() / np.nanmean(eye_distance(output))
    return float(moved / still) if still > 0 else float("nan")


def psnr(output: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB: mean over frames of -10 log10(mean squared difference), at most 100 a frame.

    The cap keeps one equal frame from making the mean infinite.
    """
    error = np.square(output.astype(np.float64) - truth).mean(axis=(1, 2, 3))
    return _mean(-10 * np.log10(np.maximum(error, 1e-10)))


def ssim(output: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, 1 = equal: mean over frames and channels.

    Wang et al., Image Quality Assessment, IEEE TIP 2004: Gaussian window, sigma 1.5 (scikit-image).
    """
    values = [
        structural_similarity(
            ours, true, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for ours, true in zip(output.astype(np.float64), truth.astype(np.float64), strict=True)
    ]
    return _mean(np.array(values, dtype=np.float64))


def matte_iou(output: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union of mattes cut at `threshold`, mean over frames; 1 = equal. N x H x W in [0, 1]."""
    ours, true = output >= threshold, truth >= threshold
    union = (ours | true).sum(axis=(1, 2))
    both = (ours & true).sum(axis=(1, 2))
    return _mean(np.where(union > 0, both / np.maximum(union, 1), 1.0))
