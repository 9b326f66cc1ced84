"""How far an avatar is from the person and from its driver: plain functions on arrays, one definition each.

Conventions: landmarks are N x 68 x 2 in px (the 68 points of Multi-PIE/iBUG), one row a frame; a frame whose face was
not found is NaN throughout and is left out of every mean (count it with `failed_share`: the published script replaced
it by a default face, which biases the error). Images are N x H x W x 3 float in [0, 1], mattes N x H x W. What ends in
`_by_frame` gives one value a frame, the function of the same name without it their mean: a plain float, NaN where
nothing could be measured.

Sources: [LPD] Burkov et al., Neural Head Reenactment with Latent Pose Descriptors, CVPR 2020, section 4 and the
authors' script `compute_pose_identity_error.py`. [SSIM] Wang et al., Image Quality Assessment, IEEE TIP 2004.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from reenact.faces.landmarks import eye_distance, eye_opening, found, mouth_opening

METRICS = [
    "failed",
    "identity_error",
    "csim",
    "pose_error",
    "aligned_error",
    "motion_error",
    "blink_correlation",
    "mouth_correlation",
    "jitter",
    "sharpness",
    "psnr",
    "ssim",
    "perceptual",
    "matte_iou",
]
"""What is measured of every avatar, in the order of the tables."""

MAX_PSNR = 100.0
"""dB of a perfect frame, so that it does not make the mean infinite."""

MIN_BOX = 16
"""Least side of the matte's box, px: SSIM's window is 11 px wide, and perceptual networks halve it four times."""


def mean(values: np.ndarray) -> float:
    """Mean of the numbers in `values`, NaN (and no warning) where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def failed_share(landmarks: np.ndarray) -> float:
    """Share of frames in which no face was found, 0 to 1."""
    return float(1 - found(landmarks).mean()) if len(landmarks) else float("nan")


# ---- identity ---------------------------------------------------------------------------------------------------


def _unit(descriptors: np.ndarray) -> np.ndarray:
    """Rows of length 1, NaN rows stay: N x D."""
    return descriptors.astype(np.float64) / np.linalg.norm(descriptors.astype(np.float64), axis=1, keepdims=True)


def _mean_unit(references: np.ndarray) -> np.ndarray | None:
    """Mean of the unit descriptors of those frames that have one: D; None without any."""
    known = references[~np.isnan(references).any(axis=1)]
    return _unit(known).mean(axis=0) if len(known) else None


def identity_error_by_frame(descriptors: np.ndarray, references: np.ndarray) -> np.ndarray:
    """1 - mean cosine between each frame's face descriptor and those of real frames: N [LPD].

    Args:
        descriptors: of the output, N x D; NaN rows (no face) give NaN.
        references: of real frames of the person, M x D; NaN rows are left out.
    """
    reference = _mean_unit(references)
    if reference is None:
        return np.full(len(descriptors), np.nan)
    return 1 - _unit(descriptors) @ reference


def identity_error(descriptors: np.ndarray, references: np.ndarray) -> float:
    """1 - mean cosine of face descriptors over all pairs (output frame, real frame); 0 = same, no unit [LPD].

    The mean of cosines over all pairs, not the cosine to a mean descriptor: as published, where unit descriptors of
    the real person are averaged and not normalised again. So it is not 0 for the real person either.
    """
    return mean(identity_error_by_frame(descriptors, references))


def csim(descriptors: np.ndarray, references: np.ndarray) -> float:
    """Mean over frames of the cosine between face descriptor and the person's template, 1 = same, no unit.

    As reported since X2Face and Zakharov et al., *Few-Shot Adversarial Learning of Realistic Neural Talking Head
    Models*, ICCV 2019. The template is the mean of the real frames' unit descriptors, made a unit vector again, so
    that one number serves for any count of real frames (with one frame it is the cosine to it).
    """
    reference = _mean_unit(references)
    if reference is None:
        return float("nan")
    return mean(_unit(descriptors) @ (reference / np.linalg.norm(reference)))


# ---- pose and expression -----------------------------------------------------------------------------------------


def pose_error_by_frame(output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of the 68 landmarks to those of the true frame, in its outer-eye distances: N [LPD]."""
    distance = np.linalg.norm(output - truth, axis=-1).mean(axis=1)
    return distance / np.maximum(eye_distance(truth), 1e-2)


def pose_error(output: np.ndarray, truth: np.ndarray) -> float:
    """Mean over frames of `pose_error_by_frame`, outer-eye distances [LPD].

    For self-driving only: it sees face shape, head pose and expression alike.
    """
    return mean(pose_error_by_frame(output, truth))


def aligned_error_by_frame(output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Landmark distance after the best similarity (turn, scale, shift; no mirroring) of each face onto the true one: N.

    In outer-eye distances of the truth. What is left is expression, face shape and turns out of the picture's plane.
    Least squares, as Umeyama, *Least-Squares Estimation of Transformation Parameters*, PAMI 1991, in two dimensions.
    """
    errors = np.full(len(output), np.nan)
    for i in np.flatnonzero(found(output) & found(truth)):
        ours, true = (points[:, 0] + 1j * points[:, 1] for points in (output[i], truth[i]))
        ours, true = ours - ours.mean(), true - true.mean()
        # In the plane a similarity is one complex factor, and least squares gives it directly.
        factor = np.vdot(ours, true) / max(np.vdot(ours, ours).real, 1e-12)
        errors[i] = np.abs(factor * ours - true).mean() / max(eye_distance(truth[i : i + 1])[0], 1e-2)
    return errors


def aligned_error(output: np.ndarray, truth: np.ndarray) -> float:
    """Mean over frames of `aligned_error_by_frame`, outer-eye distances; for self-driving."""
    return mean(aligned_error_by_frame(output, truth))


def motion(landmarks: np.ndarray) -> np.ndarray:
    """Each landmark's offset from its own mean over the sequence, in mean outer-eye distances: N x 68 x 2."""
    centred = landmarks - np.nanmean(landmarks, axis=0, keepdims=True)
    return centred / max(float(np.nanmean(eye_distance(landmarks))), 1e-2)


def motion_error_by_frame(output: np.ndarray, driver: np.ndarray) -> np.ndarray:
    """Mean distance between the landmark motion of output and driver in each frame, in outer-eye distances: N."""
    both = found(output) & found(driver)
    errors = np.full(len(output), np.nan)
    if both.sum() >= 2:
        errors[both] = np.linalg.norm(motion(output[both]) - motion(driver[both]), axis=-1).mean(axis=1)
    return errors


def motion_error(output: np.ndarray, driver: np.ndarray) -> float:
    """Mean distance between the landmark motion of output and driver, in outer-eye distances.

    Both sequences lose their own mean face and are divided by their own mean eye distance first (over the frames in
    which both faces were found), so that another person's face shape and size do not count, and every movement within
    the crop does: head, jaw, brows. A still picture scores the driver's mean amount of motion. The pose error of
    self-driving made fit for two different people; our own definition.
    """
    return mean(motion_error_by_frame(output, driver))


def correlation(output: np.ndarray, driver: np.ndarray) -> float:
    """Pearson correlation of two series of N values over the frames that both have; -1 to 1, no unit.

    NaN with fewer than three such frames, or where the driver does not move. A still output correlates with nothing: 0.
    """
    both = ~(np.isnan(output) | np.isnan(driver))
    if both.sum() < 3 or np.ptp(driver[both]) < 1e-9:
        return float("nan")
    if np.ptp(output[both]) < 1e-9:
        return 0.0
    return float(np.corrcoef(output[both], driver[both])[0, 1])


def blink_correlation(output: np.ndarray, driver: np.ndarray) -> float:
    """Correlation of the avatar's eye opening with the driver's (`correlation`); 1 = every blink in step."""
    return correlation(eye_opening(output), eye_opening(driver))


def mouth_correlation(output: np.ndarray, driver: np.ndarray) -> float:
    """Correlation of the avatar's mouth opening with the driver's (`mouth_opening`, `correlation`); 1 = in step."""
    return correlation(mouth_opening(output), mouth_opening(driver))


# ---- time -------------------------------------------------------------------------------------------------------


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


# ---- pictures ----------------------------------------------------------------------------------------------------


def matte_boxes(mattes: np.ndarray, threshold: float = 0.5) -> list[tuple[slice, slice]]:
    """Rows and columns of the smallest box around each matte (cut at `threshold`), at least MIN_BOX px a side.

    An empty matte, or a picture smaller than that, gives the whole picture.
    """
    insides = [matte >= threshold for matte in mattes]
    return [(_extent(inside.any(axis=1)), _extent(inside.any(axis=0))) for inside in insides]


def _extent(inside: np.ndarray) -> slice:
    indices = np.flatnonzero(inside)
    if not len(indices) or len(inside) <= MIN_BOX:
        return slice(0, len(inside))
    first, last = int(indices[0]), int(indices[-1]) + 1
    missing = max(0, MIN_BOX - (last - first))
    first = min(max(0, first - missing // 2), len(inside) - MIN_BOX)
    return slice(first, max(last, first + MIN_BOX))


def _in_boxes(measure: Callable[..., float], output: np.ndarray, truth: np.ndarray, mattes: np.ndarray | None) -> float:
    """Mean of `measure(output, truth)` over frames, each cut to the box of its true matte."""
    boxes = matte_boxes(mattes) if mattes is not None else [(slice(None), slice(None))] * len(truth)
    values = [
        measure(ours[box].astype(np.float64), true[box].astype(np.float64))
        for ours, true, box in zip(output, truth, boxes, strict=True)
    ]
    return mean(np.array(values, dtype=np.float64))


def psnr(output: np.ndarray, truth: np.ndarray, mattes: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio, dB: mean over frames of -10 log10(mean squared difference), at most MAX_PSNR each.

    Args:
        output, truth: pictures.
        mattes: true mattes; each frame is measured within its matte's box. None = the whole picture.
    """

    def measure(ours: np.ndarray, true: np.ndarray) -> float:
        """Of one frame, dB."""
        return min(cv2.PSNR(true, ours, R=1.0), MAX_PSNR)

    return _in_boxes(measure, output, truth, mattes)


def ssim(output: np.ndarray, truth: np.ndarray, mattes: np.ndarray | None = None) -> float:
    """Structural similarity, 1 = equal: mean over frames and channels; Gaussian window, sigma 1.5 [SSIM]. As `psnr`."""

    def measure(ours: np.ndarray, true: np.ndarray) -> float:
        """Of one frame."""
        return structural_similarity(
            ours, true, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )

    return _in_boxes(measure, output, truth, mattes)


def matte_iou(output: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union of mattes cut at `threshold`, mean over frames; 1 = equal. N x H x W in [0, 1]."""
    ours, true = output >= threshold, truth >= threshold
    union = (ours | true).sum(axis=(1, 2))
    both = (ours & true).sum(axis=(1, 2))
    return mean(np.where(union > 0, both / np.maximum(union, 1), 1.0))


def detail_by_frame(images: np.ndarray, mattes: np.ndarray) -> np.ndarray:
    """Fine detail of each picture: standard deviation of the Laplacian (4 neighbours) of its luminance in [0, 1]: N.

    Within the matte less its outermost 5 % of the picture's side, so that the outline against black does not count.
    The focus measure of Pech-Pacheco et al., *Diatom autofocusing in brightfield microscopy*, ICPR
    2000; here the standard deviation, there the variance.
    """
    margin = max(1, round(0.05 * images.shape[1]))
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    values = np.full(len(images), np.nan)
    for i, (image, matte) in enumerate(zip(images, mattes, strict=True)):
        # What lies outside of the picture counts as background: the shoulders are cut off by its edge.
        inside = cv2.erode((matte >= 0.5).astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        if inside.sum() >= MIN_BOX:
            grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
            values[i] = cv2.Laplacian(grey, cv2.CV_64F)[inside].std()
    return values


def sharpness(images: np.ndarray, mattes: np.ndarray, real_images: np.ndarray, real_mattes: np.ndarray) -> float:
    """Mean `detail_by_frame` of the output / that of the person's own pictures; 1 = as sharp, below = softer."""
    real = mean(detail_by_frame(real_images, real_mattes))
    return mean(detail_by_frame(images, mattes)) / real if real > 0 else float("nan")
