"""Where pictures are wrong: squared error, perceptual distance and mattes by parts of the true picture."""

import cv2
import numpy as np
import pandas as pd

from reenact.evaluation.measure import MEASURING_SIZE, MeasuredFrames
from reenact.evaluation.metrics import matte_boxes
from reenact.evaluation.perceptual import PerceptualDistance, perceptual_error
from reenact.faces.landmarks import found

REGIONS = ("mouth", "eyes", "rest of the face", "outline", "hair and ears", "neck and shoulders", "background")
"""Parts of a picture. The face reaches up to the forehead; the outline is what lies near the matte's edge."""

MOUTH, EYES, CHIN, BROWS, BRIDGE = slice(48, 60), (slice(36, 42), slice(42, 48)), 8, slice(17, 27), 27
SOFT, NEAR = 0.02, 0.035
"""How far mouth and eyes reach beyond their landmarks, and the outline to both sides, fractions of the side."""

FOREHEAD = 0.4
"""How far the forehead reaches above the brows, in heights from chin to bridge of the nose."""


def region_map(landmarks: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The number of the region of each pixel.

    Args:
        landmarks: 68 x 2, px of the picture.
        matte: S x S in [0, 1].
    """
    side = len(matte)
    inside = (matte >= 0.5).astype(np.uint8)
    rows = np.arange(side)[:, None] + 0.5
    regions = np.where(inside > 0, np.where(rows > landmarks[CHIN, 1], 5, 4), 6)
    # Where the person leaves the picture there is no outline.
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    reach = [cv2.distanceTransform(part, cv2.DIST_L2, 5)[1:-1, 1:-1] for part in (padded, 1 - padded)]
    regions[np.maximum(*reach) <= NEAR * side] = 3
    up = landmarks[BRIDGE] - landmarks[CHIN]
    face = _filled(np.concatenate([landmarks, landmarks[BROWS] + FOREHEAD * up]), side, 0)
    regions[(face > 0) & (inside > 0)] = 2
    for number, parts in ((1, EYES), (0, (MOUTH,))):
        for part in parts:
            regions[_filled(landmarks[part], side, SOFT) > 0] = number
    return regions


def _filled(points: np.ndarray, side: int, margin: float) -> np.ndarray:
    """The hull of points, larger by a fraction of the side: uint8 side x side."""
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    width = 2 * round(margin * side) + 1
    return cv2.dilate(mask, np.ones((width, width), np.uint8))


def region_errors(output: MeasuredFrames, truth: MeasuredFrames, network: PerceptualDistance) -> pd.DataFrame:
    """How wrong each region is, mean over frames in which the true face was found: a row a region.

    Returns:
        Columns area and error (shares of the box of the true matte and of its squared error), rms (root mean square
        difference, 0 to 1), psnr and perceptual (what the whole picture's would gain if the region were perfect),
        missing and surplus (pixels where the person should be, or should not, shares of the true matte).
    """
    known = np.flatnonzero(found(truth.landmarks))
    scale, rows = truth.images.shape[1] / MEASURING_SIZE, []
    whole = perceptual_error(network, output.images[known], truth.images[known], truth.mattes[known] / 255)
    maps = [region_map(truth.landmarks[k] * scale, truth.mattes[k] / 255) for k in known]
    boxes = matte_boxes(truth.mattes[known] / 255)
    for number, name in enumerate(REGIONS):
        frames, mended = [], []
        for k, regions, box in zip(known, maps, boxes, strict=True):
            here = regions == number
            squared = ((output.images[k] / 255.0 - truth.images[k] / 255.0) ** 2).mean(2)
            share = squared[box][here[box]].sum() / max(squared[box].sum(), 1e-12)
            ours, true = output.mattes[k] >= 128, truth.mattes[k] >= 128
            frames.append(
                {
                    "area": here[box].mean(),
                    "error": share,
                    "rms": squared[box][here[box]].mean() ** 0.5 if here[box].any() else np.nan,
                    "psnr": -10 * np.log10(max(1 - share, 1e-6)),
                    "missing": (here & true & ~ours).sum() / true.sum(),
                    "surplus": (here & ours & ~true).sum() / true.sum(),
                }
            )
            mended.append(np.where(here[..., None], truth.images[k], output.images[k]))
        perfect = perceptual_error(network, np.stack(mended), truth.images[known], truth.mattes[known] / 255)
        rows.append({"region": name} | pd.DataFrame(frames).mean().to_dict() | {"perceptual": whole - perfect})
    return pd.DataFrame(rows)
