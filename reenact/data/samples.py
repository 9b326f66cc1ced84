"""Training samples, drawn by step number.

First it is drawn which frames make the samples of a step, without looking at any; then the pictures of those samples
that are wanted are fetched, from memory or from shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.data.images import to_tensor
from reenact.data.rank_batch import RankBatch, StepBatch, divide_batch
from reenact.data.training_clips import People, TrainingClip
from reenact.faces.landmarks import EYES_AND_MOUTH
from reenact.settings.training import TrainingSettings


@dataclass(frozen=True)
class Batch(StepBatch):
    """Samples of one step; images float in [0, 1].

    Attributes:
        identity_frames: B x K x 3 x H x W, other frames of the same clip; K = 0 in fine-tuning.
        driver: B x 3 x H x W, the frame whose pose is wanted.
        target: B x 3 x H x W, the same frame times its matte.
        matte: B x 1 x H x W.
        label: B, number of the person.
        emphasis: B x 1 x H x W, 1 around eyes and mouth of the target, falling to 0; None where no loss asks for it.
    """

    identity_frames: Tensor
    driver: Tensor
    target: Tensor
    matte: Tensor
    label: Tensor
    emphasis: Tensor | None = None


@dataclass(frozen=True)
class Draw:
    """Which frames make one sample.

    Attributes:
        label: number of the person.
        clip, target: the frame that is to be made, by clip and number.
        shown: the identity frames, likewise.
        mirrored: whether all of them are.
    """

    label: int
    clip: TrainingClip
    target: int
    shown: list[tuple[TrainingClip, int]]
    mirrored: bool


class Sampler:
    """Draws the batch of any step: `sampler(step)`. It follows from the settings and the step alone, so that a resumed
    run sees what it would have seen.

    The person is drawn first, then a target frame of one of the person's clips, then identity frames of all of them
    other than the target (with repeats only where there are too few). Of the same person in one batch no target is
    drawn again before all were.

    Args:
        people: at least one, of at least one clip each.
        settings: seed; mirror = probability that all frames of a sample are mirrored; hard_pose_fraction = fraction of
            the targets that are drawn by how unusual the face is, not evenly; losses, which may ask for
            `Batch.emphasis`.
        rank_batch: how many samples a batch has, and which of them are fetched; a number = all of so many.
        identity_frames: K; 0 = none.
    """

    def __init__(
        self, people: People, settings: TrainingSettings, rank_batch: RankBatch | int, identity_frames: int = 0
    ) -> None:
        self._people, self._settings, self._identity_frames = people, settings, identity_frames
        self._rank_batch = divide_batch(rank_batch) if isinstance(rank_batch, int) else rank_batch

    def __call__(self, step: int) -> Batch:
        """The samples of one step that this rank works on."""
        whole = self.draw(step)
        draws = [whole[index] for index in self._rank_batch.indices]
        names = [self._people.names[draw.label] for draw in draws]
        return replace(fetch(draws, self._settings.losses.eyes_mouth > 0), names=names, rank_batch=self._rank_batch)

    def draw(self, step: int) -> list[Draw]:
        """Which frames make the samples of the whole batch of one step. No picture is looked at."""
        random = np.random.default_rng((self._settings.seed, step))
        labels = _without_repeats(random, len(self._people), self._rank_batch.batch_size)
        counts = zip(*np.unique(labels, return_counts=True), strict=True)
        of_person = {label: iter(self._draw_person(random, int(label), int(count))) for label, count in counts}
        # In the order of the draw: in that of the labels, each micro-batch would see a range of people.
        return [next(of_person[label]) for label in labels]

    def _draw_person(self, random: np.random.Generator, label: int, count: int) -> list[Draw]:
        """`count` samples of one person."""
        clips, draws = self._people[label], []
        for clip, target in _targets(random, clips, count, self._settings.hard_pose_fraction):
            mirrored = random.random() < self._settings.mirror
            shown = _identity_frames(random, clips, clip, target, self._identity_frames)
            draws.append(Draw(label, clip, target, shown, mirrored))
        return draws


def fetch(draws: Sequence[Draw], emphasis: bool = False) -> Batch:
    """The pictures of some samples, at least one.

    Args:
        draws: from `Sampler.draw`.
        emphasis: whether losses want to know where eyes and mouth are.
    """
    frames, targets, mattes, masks = [], [], [], []
    for drawn in draws:
        columns = slice(None, None, -1 if drawn.mirrored else 1)
        frames += [clip.frames[number][:, columns] for clip, number in drawn.shown]
        targets.append(drawn.clip.frames[drawn.target][:, columns])
        mattes.append(drawn.clip.mattes[drawn.target][:, columns])
        if emphasis:
            masks.append(around_eyes_and_mouth(drawn.clip.landmarks[drawn.target], len(mattes[-1]))[:, columns])
    driver, matte = to_tensor(targets), to_tensor(mattes)
    shape = (len(draws), len(draws[0].shown), *driver.shape[1:])
    identity = to_tensor(frames).view(shape) if frames else torch.zeros(shape)
    labels = torch.tensor([drawn.label for drawn in draws])
    return Batch(identity, driver, driver * matte, matte, labels, to_tensor(masks) if emphasis else None)


def around_eyes_and_mouth(landmarks: np.ndarray, side: int) -> np.ndarray:
    """A mask, uint8 side x side: 255 on eyes and mouth, with a soft border; 0 where they are not known.

    Args:
        landmarks: 68 x 2, as fractions of the side; NaN where unknown.
        side: px.
    """
    mask = np.zeros((side, side), np.uint8)
    if np.isfinite(landmarks).all():
        for part in EYES_AND_MOUTH:
            hull = cv2.convexHull((landmarks[part] * side).round().astype(np.int32))
            cv2.fillConvexPoly(mask, hull, 255)
        reach = max(3, side // 16) | 1
        mask = cv2.blur(cv2.dilate(mask, np.ones((reach, reach), np.uint8)), (reach, reach))
    return mask


def _targets(
    random: np.random.Generator, clips: Sequence[TrainingClip], count: int, hard_pose_fraction: float
) -> list[tuple[TrainingClip, int]]:
    """`count` frames of one person: clip and number in it."""
    owners = [(clip, number) for clip in clips for number in range(len(clip.frames))]
    chosen = list(_without_repeats(random, len(owners), count))
    if hard_pose_fraction:
        weights = np.concatenate([clip.pose_deviation * len(clip.frames) for clip in clips]) / len(owners)
        chosen = [
            random.choice(len(owners), p=weights) if random.random() < hard_pose_fraction else number
            for number in chosen
        ]
    return [owners[number] for number in chosen]


def _identity_frames(
    random: np.random.Generator, clips: Sequence[TrainingClip], clip: TrainingClip, target: int, count: int
) -> list[tuple[TrainingClip, int]]:
    """Frames of one person other than the target: clip and number in it."""
    owners = [
        (other, number)
        for other in clips
        for number in range(len(other.frames))
        if other is not clip or number != target
    ]
    owners = owners or [(clip, target)]
    chosen = random.choice(len(owners), count, replace=len(owners) < count)
    return [owners[number] for number in chosen]


def _without_repeats(random: np.random.Generator, count: int, wanted: int) -> np.ndarray:
    """`wanted` numbers below `count`, none repeated before all were drawn once."""
    rounds = [random.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(rounds)[:wanted]
