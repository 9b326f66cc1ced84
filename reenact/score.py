"""Stage score: numbers for every model of a sweep, and for baselines on the same frames."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reenact import metrics
from reenact.clip import Clip
from reenact.descriptor import DIMENSIONS, FaceDescriptor
from reenact.errors import UserError
from reenact.faces import FaceFinder
from reenact.files import write_text
from reenact.images import resize_area, resize_to, to_tensor
from reenact.networks.vgg import PerceptualNetwork, perceptual_distance
from reenact.sequence import frames_of, spread
from reenact.settings.score import ScoreSettings

MEASURING_SIZE = 256
"""Faces are found and described at this size, px; smaller images are enlarged to it."""

PERCEPTUAL_SEED = 1
"""Not the training loss's seed 0: an avatar is not judged by the very features that it was trained on."""

COLUMNS = [
    "model", "protocol", "frames", "failed", "identity_error", "pose_error", "motion_error", "psnr", "ssim", "perceptual",
    "jitter", "matte_iou", "descriptor", "perceptual_network",
]

MEAN_IMAGE, DRIVER_FRAME, REAL_FRAMES = "mean_image", "driver_frame", "real_frames"
"""Baselines: the person's mean image as a still, the driver's own frame, and (a floor) the person's own held-out frame."""


@dataclass(frozen=True)
class Sequence:
    """Some frames of one person or avatar, measured.

    Attributes:
        images: masked, uint8 N x S x S x 3.
        mattes: uint8 N x S x S.
        landmarks: N x 68 x 2, px at MEASURING_SIZE; NaN where no face was found.
        descriptors: M x 128 of at most `score.identity_frames` of the frames, evenly spread; NaN likewise.
    """

    images: np.ndarray
    mattes: np.ndarray
    landmarks: np.ndarray
    descriptors: np.ndarray


class Measurer:
    """The networks that look at faces and pictures."""

    def __init__(self, finder: FaceFinder, settings: ScoreSettings) -> None:
        self.descriptor = FaceDescriptor(Path(settings.descriptor_weights))
        self._finder = finder
        self._identity_frames = settings.identity_frames
        self._perceptual = PerceptualNetwork(settings.perceptual_width, PERCEPTUAL_SEED)
        self.perceptual_name = f"VGG-19, random weights, width {settings.perceptual_width:g}"

    def sequence(self, images: np.ndarray, mattes: np.ndarray) -> Sequence:
        """Find the face in each masked image (the largest where there are several); describe some of them."""
        landmarks = np.full((len(images), 68, 2), np.nan)
        described = spread(len(images), self._identity_frames)
        descriptors = np.full((len(described), DIMENSIONS), np.nan)
        for position, image in enumerate(images):
            large = resize_to(image, MEASURING_SIZE)
            faces = self._finder.find(large)
            if faces:
                landmarks[position] = faces[0].landmarks
                if position in described:
                    descriptors[described.index(position)] = self.descriptor.describe(large, landmarks[position])
        return Sequence(images, mattes, landmarks, descriptors)

    def perceptual(self, output: np.ndarray, truth: np.ndarray, batch_size: int = 16) -> float:
        """Mean perceptual distance between images, uint8 N x S x S x 3 twice."""
        values: list[Tensor] = []
        for start in range(0, len(output), batch_size):
            pair = [to_tensor(images[start : start + batch_size]) for images in (output, truth)]
            values.append(perceptual_distance(self._perceptual, *pair))
        return float(torch.cat(values).mean()) if values else float("nan")


def score_avatar(
    *, driven: Path, identity_crops: Path, identity_mattes: Path, driver_crops: Path, driver_mattes: Path, scores: Path,
    settings: ScoreSettings,
) -> None:
    """Measure every model in `driven` and the baselines; one row per (model, protocol).

    All pictures are compared at the model's size and on black (crop x matte). The identity error compares with the
    identity's training frames, as published; the baselines are `mean_image` (mean of those frames, as a still video)
    and, cross only, `driver_frame` (the driver's own frames); self only, `real_frames` are the held-out frames
    themselves: no avatar can be expected to score below their identity error.

    Args:
        driven: outputs of stage drive.
        identity_crops, identity_mattes: clip files of the identity.
        driver_crops, driver_mattes: clip files of the driver of the cross protocol.
        scores: CSV to write, COLUMNS; metrics that do not apply to a protocol are empty.

    Raises:
        UserError: the identity has no training frame, or its face is in none of those at the model's size.
    """
    with FaceFinder(min_confidence=settings.min_confidence) as finder:
        measurer = Measurer(finder, settings)
        identity, driver = (Clip(identity_crops), Clip(identity_mattes)), (Clip(driver_crops), Clip(driver_mattes))
        rows = _score(Clip(driven), identity, driver, measurer, settings.reference_frames)
    table = pd.DataFrame(rows).assign(descriptor=measurer.descriptor.name, perceptual_network=measurer.perceptual_name)
    write_text(scores, table[COLUMNS].to_csv(index=False, float_format="%.6g"))


def _score(
    outputs: Clip, identity: tuple[Clip, Clip], driver: tuple[Clip, Clip], measurer: Measurer, reference_frames: int
) -> list[dict]:
    """The rows of the score table; `identity` and `driver` are crops and mattes."""
    size = outputs.image(outputs.table["image"].iloc[0]).shape[0]
    references = _references(*identity, size, measurer, reference_frames)
    mean = measurer.sequence(*_mean_image(*identity, size))
    rows = []
    for protocol, part in outputs.table.groupby("protocol", sort=False):
        shown = part[part["iteration"] == part["iteration"].iloc[0]]
        people = identity if protocol == "self" else driver
        true = measurer.sequence(*_masked(*people, shown["index"].tolist(), size))
        for model, sequence in _models(outputs, part, measurer, _still(mean, len(shown)), true, protocol):
            row = compare(sequence, true, references.descriptors, shown["run"].to_numpy(), protocol, measurer.perceptual)
            rows.append({"model": model, "protocol": protocol, **row})
            figures = ", ".join(f"{name} {row[name]:.3f}" for name in ("identity_error", "pose_error", "motion_error", "failed"))
            print(f"score {protocol} {model}: {figures}", flush=True)
    return rows


def compare(
    output: Sequence, driver: Sequence, references: np.ndarray, runs: np.ndarray, protocol: str,
    perceptual: Callable[[np.ndarray, np.ndarray], float],
) -> dict[str, float]:
    """All metrics of one sequence of outputs against the frames that drove it, frame by frame.

    Args:
        references: descriptors of the real person, M x 128.
        runs: run of each frame (jitter is measured within runs).
        protocol: self, where the driver's frames are the truth, or cross.
        perceptual: distance of uint8 images.
    """
    row = {
        "frames": len(output.images),
        "failed": metrics.failed_share(output.landmarks),
        "identity_error": metrics.identity_error(output.descriptors, references),
        "pose_error": float("nan"),
        "motion_error": metrics.motion_error(output.landmarks, driver.landmarks),
        "psnr": float("nan"), "ssim": float("nan"), "perceptual": float("nan"),
        "jitter": metrics.jitter(output.landmarks, driver.landmarks, runs),
        "matte_iou": float("nan"),
    }
    if protocol == "self":
        ours, true = output.images / 255, driver.images / 255
        row |= {
            "pose_error": metrics.pose_error(output.landmarks, driver.landmarks),
            "psnr": metrics.psnr(ours, true),
            "ssim": metrics.ssim(ours, true),
            "perceptual": perceptual(output.images, driver.images),
            "matte_iou": metrics.matte_iou(output.mattes / 255, driver.mattes / 255),
        }
    return row


def _models(
    outputs: Clip, part: pd.DataFrame, measurer: Measurer, still: Sequence, driver: Sequence, protocol: str
) -> Iterator[tuple[str, Sequence]]:
    """Yield (name, sequence) of the baselines and of every model, one in memory at a time."""
    yield MEAN_IMAGE, still
    yield (REAL_FRAMES if protocol == "self" else DRIVER_FRAME), driver
    for iteration, rows in part.groupby("iteration"):
        images, mattes = outputs.images(rows["image"].tolist()), outputs.images(rows["matte"].tolist())
        yield str(iteration), measurer.sequence(images, mattes)


def _references(crops: Clip, mattes: Clip, size: int, measurer: Measurer, most: int) -> Sequence:
    """Training frames of the person, evenly spread: what an avatar should look like."""
    table = frames_of(crops, "train")
    if table.empty:
        raise UserError(f"{crops.path}: no training frame with a face; check the identity's media")
    chosen = table["index"].iloc[spread(len(table), most)].tolist()
    references = measurer.sequence(*_masked(crops, mattes, chosen, size))
    if metrics.failed_share(references.landmarks) == 1:
        raise UserError(
            f"{crops.path}: no face found in any of {len(chosen)} training frames at {size} px with the background removed; "
            f"look at the crops and at the mattes ({mattes.path}), or lower score.min_confidence"
        )
    return references


def _mean_image(crops: Clip, mattes: Clip, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of all masked training frames and of their mattes: uint8 1 x S x S x 3 and 1 x S x S."""
    indices = frames_of(crops, "train")["index"].tolist()
    total = [np.zeros((size, size, 3)), np.zeros((size, size))]
    for index in indices:
        for mean, picture in zip(total, _masked(crops, mattes, [index], size)):
            mean += picture[0] / len(indices)
    return tuple(np.rint(mean[None]).astype(np.uint8) for mean in total)


def _still(sequence: Sequence, count: int) -> Sequence:
    """The first frame of a sequence, `count` times."""
    return Sequence(*(np.repeat(getattr(sequence, field.name)[:1], count, axis=0) for field in fields(sequence)))


def _masked(crops: Clip, mattes: Clip, indices: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames by number at `size` px: crop x matte (uint8 N x S x S x 3) and matte (uint8 N x S x S)."""
    names = dict(zip(crops.table["index"], crops.table["image"]))
    missing = [index for index in indices if index not in names]
    if missing:
        raise UserError(f"{crops.path}: frame {missing[0]} is missing; the clip changed since stage drive, run it again")
    chosen = [names[index] for index in indices]
    matte = resize_area(mattes.images(chosen), size)
    pictures = resize_area(crops.images(chosen), size)
    return np.rint(pictures * (matte[..., None] / 255)).astype(np.uint8), matte
