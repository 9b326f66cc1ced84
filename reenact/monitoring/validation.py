"""Looking at a model while it is trained: people who drive themselves, their other videos drive them, and other people
do.

The same few frames every time, so that numbers and pictures of one step can be compared with those of another. Numbers
are those of stage score, on much less: they say whether training still helps, not how good an avatar is.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from reenact.data.images import fit, to_tensor, to_uint8
from reenact.data.sequence import spread
from reenact.data.shard_people import Shards
from reenact.data.training_clips import Clips, PeopleInMemory, TrainingClip, few
from reenact.evaluation import metrics
from reenact.evaluation.measure import MeasuredFrames, Measurer
from reenact.evaluation.perceptual import perceptual_error
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.family import Model
from reenact.monitoring.previews import drive_people, grid, masked_frames, spread_frames
from reenact.settings.score import ScoreSettings
from reenact.training import distributed
from reenact.training.learner import Learner

SELF, OTHER_VIDEO, CROSS = "self", "other_video", "cross_identity"
"""Who drives: the person's own clip (which is then the truth), another clip of the same person, or somebody else."""

PEOPLE, SHOWN = 8, 4
"""Most people who are measured, and most rows of a sheet."""

IDENTITY_FRAMES = 8

RESPONDING, RESPONSE_FRAMES = 8, 8
"""Most people whose pose response is taken, and of each the most frames."""

Result = tuple[dict[str, float], dict[str, np.ndarray]]
"""What validation finds: numbers by name, and sheets (pictures, uint8 H x W x 3) by name."""


@dataclass(frozen=True)
class Pair:
    """One person following a few frames of a clip.

    Attributes:
        kind: SELF, OTHER_VIDEO or CROSS.
        identity: frames that the person is known by, uint8 K x S x S x 3; none of them drives.
        identity_mattes: of them, uint8 K x S x S.
        likeness: the same frames times their mattes.
        drivers: uint8 N x S x S x 3.
        targets, mattes: the drivers times their mattes (uint8 N x S x S x 3), and those (N x S x S): what SELF should
            give.
    """

    kind: str
    identity: np.ndarray
    identity_mattes: np.ndarray
    likeness: np.ndarray
    drivers: np.ndarray
    targets: np.ndarray
    mattes: np.ndarray


class Validation:
    """Numbers and sheets of a learner.

    Args:
        clips: of people whom training does not see; or, for sheets alone, of those that it does.
        frames: that drive each person, in each way.
        device: where the networks are.
        measurer: finds and describes faces; None = sheets only.
        trained_on: clips whose pose response is taken; none = no pose response.
    """

    def __init__(
        self,
        clips: Sequence[TrainingClip],
        frames: int,
        device: torch.device,
        measurer: Measurer | None = None,
        trained_on: Sequence[TrainingClip] = (),
    ) -> None:
        self._pairs, self._device, self._measurer = make_pairs(clips, frames), device, measurer
        self._trained_on = trained_on
        self._truth: list[MeasuredFrames] | None = None

    def pose_response(self, average: Model) -> dict[str, float]:
        """Mean of `pose_response` over clips that follow their own frames; {} where none is to."""
        responses = []
        for clip in self._trained_on[:RESPONDING]:
            frames = spread_frames(clip, RESPONSE_FRAMES)
            if len(frames) > 1:
                outputs = drive_people(average, [clip], frames, self._device)[0]
                responses.append(pose_response(to_tensor(outputs), to_tensor(frames)))
        return {"pose_response": float(np.mean(responses))} if responses else {}

    def __call__(self, learner: Learner) -> Result:
        """Validate the moving average and the raw networks; sheets show the average.

        The best checkpoint is that of the least `reenact.training.loop.VALIDATION_ERROR` among the numbers.
        """
        outputs = [self._drive(learner.average, pair) for pair in self._pairs]
        sheets = {
            kind: sheet([(p, o) for p, o in zip(self._pairs, outputs, strict=True) if p.kind == kind][:SHOWN])
            for kind in self._kinds()
        }
        if self._measurer is None:
            return {}, sheets
        average = self._numbers(outputs, self._measurer)
        with evaluating(learner.reenactor) as raw:
            numbers = self._numbers([self._drive(raw, pair) for pair in self._pairs], self._measurer)
        named = {f"validation_{k}": v for k, v in average.items()} | {
            f"raw_validation_{k}": v for k, v in numbers.items()
        }
        return {name: value for name, value in named.items() if not math.isnan(value)}, sheets

    @torch.no_grad()
    def _drive(self, net: Model, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Output and matte of each driving frame: uint8 N x S x S x 3 and N x S x S."""
        pose = net.pose_encoder(fit(to_tensor(pair.drivers), net.architecture.pose_size).to(self._device))
        rgb, matte = net.show(pose, net.identify(pair.identity, pair.identity_mattes))
        return to_uint8(rgb), to_uint8(matte)

    def _kinds(self) -> list[str]:
        return [kind for kind in (SELF, OTHER_VIDEO, CROSS) if any(pair.kind == kind for pair in self._pairs)]

    def _measure_truth(self, measurer: Measurer) -> list[MeasuredFrames]:
        """The real frames behind each pair: for SELF the targets, else those that the person is known by."""
        if self._truth is None:
            self._truth = [
                measurer.sequence(p.targets if p.kind == SELF else p.likeness, p.mattes) for p in self._pairs
            ]
        return self._truth

    def _numbers(self, outputs: list[tuple[np.ndarray, np.ndarray]], measurer: Measurer) -> dict[str, float]:
        """Means over pairs; NaN where no face was found."""
        found: dict[str, list[float]] = {
            name: [] for name in ("pose_error", "dice", "perceptual", "identity_error", "failed")
        }
        for pair, output, truth in zip(self._pairs, outputs, self._measure_truth(measurer), strict=True):
            measured = measurer.sequence(*output)
            found["failed"].append(metrics.failed_share(measured.landmarks))
            if pair.kind == SELF:
                mattes = pair.mattes / 255
                found["pose_error"].append(
                    metrics.mean(metrics.pose_error_by_frame(measured.landmarks, truth.landmarks))
                )
                found["dice"].append(dice_coefficient(output[1] / 255, mattes))
                found["perceptual"].append(perceptual_error(measurer.perceptual, output[0], pair.targets, mattes))
            else:
                found["identity_error"].append(
                    metrics.mean(metrics.identity_error_by_frame(measured.descriptors, truth.descriptors))
                )
        return {name: metrics.mean(np.array(values, dtype=np.float64)) for name, values in found.items()}


@contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode, whose parts go back to the modes that they were in."""
    modes = {module: module.training for module in net.modules()}
    try:
        yield net.eval()
    finally:
        for module, training in modes.items():
            module.training = training


@dataclass(frozen=True)
class ValidationSource:
    """Whom a meta-model is tried on while it learns, and how it is measured.

    Attributes:
        clips: of people whom training does not see; none = sheets only, of those that it does.
        score: how faces and pictures are measured.
    """

    clips: Clips | Shards = field(default_factory=Clips)
    score: ScoreSettings = field(default_factory=ScoreSettings)

    @contextmanager
    def open(
        self, trained_on: list[TrainingClip], size: int, frames: int, device: torch.device
    ) -> Iterator[Validation]:
        """Load people and networks.

        Args:
            trained_on: clips that training sees.
            size: side of the images, px.
            frames: that drive each person, in each way.
            device: where the trained networks are.
        """
        unseen = few(self.clips.load(size))
        if unseen and distributed.is_main():
            with FaceFinder(min_confidence=self.score.min_confidence) as finder:
                yield Validation(unseen, frames, device, Measurer(finder, self.score), trained_on)
        else:
            yield Validation(unseen or trained_on, frames, device, None, trained_on)


def make_pairs(clips: Sequence[TrainingClip], frames: int) -> list[Pair]:
    """For up to PEOPLE people: each driven by its own clip, by its next other clip where there is one, and by the next
    person.

    Args:
        clips: at least one.
        frames: that drive, at most; spread over the clip.
    """
    everybody = PeopleInMemory(clips)
    people, pairs = [everybody[i] for i in spread(len(everybody), PEOPLE)], []
    for number, own in enumerate(people):
        other = own[1] if len(own) > 1 else None
        stranger = people[(number + 1) % len(people)][0] if len(people) > 1 else None
        drivers = {SELF: own[0], OTHER_VIDEO: other, CROSS: stranger}
        for kind, driver in drivers.items():
            if driver is not None:
                chosen = spread(len(driver.frames), frames + 2)[1:-1] or [0]
                known = _identity_frames(own[0], chosen if kind == SELF else [])
                pictures = (
                    own[0].frames[known],
                    own[0].mattes[known],
                    masked_frames(own[0], known),
                    driver.frames[chosen],
                    masked_frames(driver, chosen),
                )
                pairs.append(Pair(kind, *pictures, driver.mattes[chosen]))
    return pairs


def _identity_frames(clip: TrainingClip, used: list[int]) -> list[int]:
    """Numbers of frames that show who it is: not those `used`, unless there are no others."""
    free = [number for number in range(len(clip.frames)) if number not in used] or list(range(len(clip.frames)))
    return [free[i] for i in spread(len(free), IDENTITY_FRAMES)]


def sheet(driven: Sequence[tuple[Pair, tuple[np.ndarray, np.ndarray]]]) -> np.ndarray:
    """A picture, uint8 H x W x 3: the middle frame of each pair: identity, driver, target, output, matte, error.

    Target and error are black where there is no truth.
    """
    rows = []
    for pair, (outputs, mattes) in driven:
        middle = len(outputs) // 2
        output, target = outputs[middle], pair.targets[middle]
        grey = np.repeat(mattes[middle, ..., None], 3, 2)
        error = np.abs(output.astype(int) - target).astype(np.uint8)
        known = (target, error) if pair.kind == SELF else (np.zeros_like(target),) * 2
        rows.append(np.stack([pair.identity[0], pair.drivers[middle], known[0], output, grey, known[1]]))
    return grid(rows)


def dice_coefficient(matte: np.ndarray, truth: np.ndarray) -> float:
    """2 sum(pq) / (sum p^2 + sum q^2) of mattes in [0, 1]; 1 = equal."""
    return float(2 * (matte * truth).sum() / max((matte**2).sum() + (truth**2).sum(), 1e-6))


@torch.no_grad()
def pose_response(outputs: Tensor, targets: Tensor) -> float:
    """How much outputs for different drivers differ, as a fraction of how much the true frames differ.

    Near 0 is pose collapse: identity explains the picture and every driver gives the same one, while all
    losses still look fine.

    Args:
        outputs, targets: N x 3 x H x W, one person, N driving frames.
    """
    spreads = [(images - images.mean(0)).abs().mean() for images in (outputs, targets)]
    return (spreads[0] / spreads[1].clamp_min(1e-6)).item()
