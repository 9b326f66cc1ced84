"""Measuring avatars of one person: the frames that they are shown, and all metrics of what they make of them.

All pictures are compared at the model's size and on black (crop x matte). Real frames are found and described once,
however many avatars are measured against them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from torch import Tensor

from reenact.data.clip import Clip
from reenact.data.images import frame_by_frame, resize_area, resize_to
from reenact.data.sequence import CHECK, frames_of, images, parts, spread
from reenact.evaluation import metrics
from reenact.evaluation.descriptor import load_descriptor
from reenact.evaluation.metrics import METRICS
from reenact.evaluation.perceptual import load_perceptual, perceptual_error
from reenact.faces.face import Face
from reenact.faces.landmarks import found
from reenact.runtime.errors import UserError
from reenact.settings.score import ScoreSettings

MEASURING_SIZE = 256
"""Faces are found and described at this size, px; smaller images are enlarged to it."""

NETWORKS = ["descriptor", "landmark_detector", "perceptual_network"]
"""Columns of score tables that name what makes the numbers."""

LANDMARK_DETECTOR = "MediaPipe Face Mesh"
"""Whose landmarks the pose, aligned and motion errors, the correlations and the jitter are measured by."""

ROLES = {"self": "holdout", "cross": "drive"}
"""Protocol -> role of the frames that drive: the identity's own held-out ones, or another person's."""


@dataclass(frozen=True)
class MeasuredFrames:
    """Some frames of one person or avatar, measured.

    Attributes:
        images: masked, uint8 N x S x S x 3.
        mattes: uint8 N x S x S.
        landmarks: N x 68 x 2, px at MEASURING_SIZE; NaN where no face was found.
        descriptors: N x D; NaN where no face was found, and but for `score.identity_frames` of the frames, evenly
            spread.
    """

    images: np.ndarray
    mattes: np.ndarray
    landmarks: np.ndarray
    descriptors: np.ndarray

    def take(self, rows: np.ndarray) -> "MeasuredFrames":
        """Some of its frames: numbers, or a mask."""
        return MeasuredFrames(*(getattr(self, field.name)[rows] for field in fields(self)))

    def still(self, count: int) -> "MeasuredFrames":
        """Its first frame `count` times."""
        return self.take(np.zeros(count, int))


class Finder(Protocol):
    """Who finds faces in a picture."""

    def find(self, image: np.ndarray) -> list[Face]:
        """The faces of a picture (uint8 RGB, H x W x 3), larger ones first."""


class Measurer:
    """The networks that look at faces and pictures."""

    def __init__(self, finder: Finder, settings: ScoreSettings) -> None:
        self.descriptor = load_descriptor(
            settings.descriptor, Path(settings.descriptor_weights), settings.descriptor_licence
        )
        self.perceptual = load_perceptual(settings)
        self._finder = finder
        self._identity_frames = settings.identity_frames

    def names(self) -> dict[str, str]:
        """Which networks make the numbers, as columns for a table (NETWORKS)."""
        return dict(zip(NETWORKS, (self.descriptor.name, LANDMARK_DETECTOR, self.perceptual.name), strict=True))

    def sequence(self, pictures: np.ndarray, mattes: np.ndarray) -> MeasuredFrames:
        """Find the face in each masked image (the largest where there are several); describe some of them."""
        landmarks = np.full((len(pictures), 68, 2), np.nan)
        descriptors = np.full((len(pictures), self.descriptor.dimensions), np.nan)
        described, seen = set(spread(len(pictures), self._identity_frames)), {}
        for position, picture in enumerate(pictures):
            large = resize_to(picture, MEASURING_SIZE)
            faces = self._finder.find(large)
            if faces:
                landmarks[position] = faces[0].landmarks
                if position in described:
                    seen[position] = large, landmarks[position]
        descriptors[list(seen)] = self.descriptor.describe_all(list(seen.values()))
        return MeasuredFrames(pictures, mattes, landmarks, descriptors)


@dataclass(frozen=True)
class DrivingFrames:
    """What drives the avatars in one protocol.

    Attributes:
        frames: a row a frame: index, run, part (and image, where avatars are driven here).
        truth: the driver's own frames, which for self-driving are the truth.
    """

    frames: pd.DataFrame
    truth: MeasuredFrames


class IdentityReference:
    """One person, ready to have avatars measured.

    Attributes:
        size: side of the avatars' images, px.
        references: the person's training frames, evenly spread: what an avatar should look like.
        driving: protocol -> what drives.
    """

    def __init__(
        self,
        identity: tuple[Clip, Clip],
        size: int,
        measurer: Measurer,
        reference_frames: int,
        driving: dict[str, DrivingFrames],
    ) -> None:
        """Measure the real frames.

        Args:
            identity: crops and mattes of the person.
            size: see above.
            measurer: the networks.
            reference_frames: most frames of the references.
            driving: see `measure_driver`.

        Raises:
            UserError: the person has no training frame, or no face is found in any.
        """
        self.size, self.driving, self._identity, self._measurer = size, driving, identity, measurer
        self.references = _references(*identity, size, measurer, reference_frames)

    def mean_image(self) -> MeasuredFrames:
        """Mean of all masked training frames and of their mattes, one frame."""
        crops, mattes = self._identity
        indices = frames_of(crops, "train")["index"].tolist()
        total = [np.zeros((self.size, self.size, 3)), np.zeros((self.size, self.size))]
        for index in indices:
            for sums, picture in zip(total, masked(crops, mattes, [index], self.size), strict=True):
                sums += picture[0] / len(indices)
        return self._measurer.sequence(*(np.rint(sums[None]).astype(np.uint8) for sums in total))

    def drivers(self, protocol: str, crops: Clip) -> Iterator[np.ndarray]:
        """The crops that drive in a protocol, uint8, one by one; `crops` is the clip that they come from."""
        return images(crops, self.driving[protocol].frames["image"].tolist())

    def output(self, batches: Iterable[tuple[Tensor, Tensor]]) -> MeasuredFrames:
        """Measure what an avatar made of them (`reenact.avatar.Avatar.drive`)."""
        pairs = list(frame_by_frame(batches))
        return self._measurer.sequence(np.stack([rgb for rgb, _ in pairs]), np.stack([matte for _, matte in pairs]))

    def compare(self, output: MeasuredFrames, protocol: str) -> tuple[dict[str, float], pd.DataFrame]:
        """All metrics of a sequence of outputs, frame by frame against what drove it.

        Args:
            output: as many frames as the protocol shows.
            protocol: self, where the driver's frames are the truth, or cross.

        Returns:
            METRICS (NaN what does not apply) with `frames`, of the frames on which nothing is chosen (all where there
            are no such); and `frame_values` of all.
        """
        driving = self.driving[protocol]
        values = frame_values(output, driving.truth, self.references.descriptors, driving.frames, protocol)
        rows = (driving.frames["part"] == CHECK).to_numpy()
        rows = rows if rows.any() else np.ones(len(rows), bool)
        counted, shown, truth = values[rows], output.take(rows), driving.truth.take(rows)
        result = dict.fromkeys(METRICS, float("nan")) | {
            "frames": len(shown.images),
            "failed": float(counted["failed"].mean()),
            "csim": metrics.csim(shown.descriptors, self.references.descriptors),
            "blink_correlation": metrics.blink_correlation(shown.landmarks, truth.landmarks),
            "mouth_correlation": metrics.mouth_correlation(shown.landmarks, truth.landmarks),
            "jitter": metrics.jitter(shown.landmarks, truth.landmarks, driving.frames["run"].to_numpy()[rows]),
            "sharpness": metrics.sharpness(
                shown.images / 255, shown.mattes / 255, self.references.images / 255, self.references.mattes / 255
            ),
        }
        for name in ("identity_error", "pose_error", "motion_error"):
            result[name] = metrics.mean(counted[name].to_numpy())
        return result | (self._against_truth(shown, truth) if protocol == "self" else {}), values

    def _against_truth(self, output: MeasuredFrames, truth: MeasuredFrames) -> dict[str, float]:
        """The metrics that need the true picture."""
        ours, true, mattes = output.images / 255, truth.images / 255, truth.mattes / 255
        return {
            "aligned_error": metrics.aligned_error(output.landmarks, truth.landmarks),
            "psnr": metrics.psnr(ours, true, mattes),
            "ssim": metrics.ssim(ours, true, mattes),
            "perceptual": perceptual_error(self._measurer.perceptual, output.images, truth.images, mattes),
            "matte_iou": metrics.matte_iou(output.mattes / 255, mattes),
        }


def frame_values(
    output: MeasuredFrames, truth: MeasuredFrames, references: np.ndarray, frames: pd.DataFrame, protocol: str
) -> pd.DataFrame:
    """The errors of the trade-off frame by frame.

    Returns:
        Columns index, run, part, failed (0 or 1), identity_error (NaN where not described), pose_error (self only),
        motion_error.
    """
    pose = metrics.pose_error_by_frame(output.landmarks, truth.landmarks)
    return pd.DataFrame(
        {
            "index": frames["index"].to_numpy(),
            "run": frames["run"].to_numpy(),
            "part": frames["part"].to_numpy(),
            "failed": (~found(output.landmarks)).astype(int),
            "identity_error": metrics.identity_error_by_frame(output.descriptors, references),
            "pose_error": pose if protocol == "self" else np.full(len(pose), np.nan),
            "motion_error": metrics.motion_error_by_frame(output.landmarks, truth.landmarks),
        }
    )


def measure_driver(clip: tuple[Clip, Clip], frames: pd.DataFrame, size: int, measurer: Measurer) -> DrivingFrames:
    """Measure the driver's own frames.

    Args:
        clip: crops and mattes of the driver.
        frames: rows of `shown_frames`.
        size: of the avatars' images, px.
        measurer: the networks.
    """
    return DrivingFrames(frames, measurer.sequence(*masked(*clip, frames["index"].tolist(), size)))


def part_of_frames(clip: Clip, role: str) -> dict[int, str]:
    """The part (`reenact.data.sequence.parts`) of every frame of a role, by frame number."""
    table = frames_of(clip, role)
    return dict(zip(table["index"].tolist(), parts(len(table)), strict=True))


def masked(crops: Clip, mattes: Clip, indices: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames by number at `size` px: crop x matte (uint8 N x S x S x 3) and matte (uint8 N x S x S).

    Raises:
        UserError: the clip lacks one of them.
    """
    names = dict(zip(crops.table["index"], crops.table["image"], strict=True))
    missing = [index for index in indices if index not in names]
    if missing:
        raise UserError(
            f"{crops.path}: frame {missing[0]} is missing; the clip changed since stage drive, run it again"
        )
    chosen = [names[index] for index in indices]
    pairs = [_masked_one(crops.image(name), mattes.image(name), size) for name in chosen]
    return np.stack([picture for picture, _ in pairs]), np.stack([matte for _, matte in pairs])


def _masked_one(crop: np.ndarray, matte: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    small, mask = resize_area(crop[None], size)[0], resize_area(matte[None], size)[0]
    return np.rint(small * (mask[..., None] / 255)).astype(np.uint8), mask


def _references(crops: Clip, mattes: Clip, size: int, measurer: Measurer, count: int) -> MeasuredFrames:
    table = frames_of(crops, "train")
    if table.empty:
        raise UserError(f"{crops.path}: no training frame with a face; check the identity's media")
    chosen = table["index"].iloc[spread(len(table), count)].tolist()
    references = measurer.sequence(*masked(crops, mattes, chosen, size))
    if metrics.failed_share(references.landmarks) == 1:
        raise UserError(
            f"{crops.path}: no face found in any of {len(chosen)} training frames at {size} px "
            "with the background removed; "
            f"look at the crops and at the mattes ({mattes.path}), or lower score.min_confidence"
        )
    return references


def baselines(
    reference: IdentityReference, protocol: str, mean_image: MeasuredFrames
) -> Iterator[tuple[str, MeasuredFrames]]:
    """Name and sequence of what a protocol's scores are compared with.

    `mean_image`: the person's mean image as a still. Cross: `driver_frame`, the driver's own frames. Self:
    `real_frames`, the held-out frames themselves: no avatar can be expected to score below their identity error.
    """
    truth = reference.driving[protocol].truth
    yield MEAN_IMAGE, mean_image.still(len(truth.images))
    yield (REAL_FRAMES if protocol == "self" else DRIVER_FRAME), truth


MEAN_IMAGE, DRIVER_FRAME, REAL_FRAMES = "mean_image", "driver_frame", "real_frames"
