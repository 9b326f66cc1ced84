"""Training samples: frames of clips at the model's size, drawn by step number.

First it is drawn which frames make the samples of a step, without looking at any; then the pictures of those samples that are
wanted are fetched, from memory (`load_person`) or from shards (`reenact.data.shard_people`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.data.clip import Clip
from reenact.data.images import resize_area, to_tensor
from reenact.data.sequence import spread
from reenact.faces.landmarks import EYES_AND_MOUTH, eye_opening, mouth_opening
from reenact.runtime.errors import UserError


@dataclass(frozen=True)
class Batch:
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

    def to(self, device: torch.device) -> "Batch":
        """The same samples on another device."""
        return self._each(lambda value: value.to(device))

    def split(self, pieces: int) -> list["Batch"]:
        """Equal pieces, one behind the other."""
        size = len(self.driver) // pieces
        return [self._each(itemgetter(slice(i * size, (i + 1) * size))) for i in range(pieces)]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in given.items() if value is not None})


class Rows(Protocol):
    """What training asks of an array of pictures or landmarks, so that it need not be in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> np.ndarray:
        """One row by its number, or some by a list of numbers."""

    def __array__(self, dtype: Any = ..., /) -> np.ndarray:
        """All rows."""


@dataclass(frozen=True)
class Person:
    """Training frames of one clip.

    Attributes:
        name: of the clip.
        frames: uint8 N x S x S x 3.
        mattes: uint8 N x S x S.
        landmarks: float32 N x 68 x 2, shares of the side; NaN where unknown.
        identity: who it is; clips with the same one are clips of one person. Empty = nobody else's clip.
    """

    name: str
    frames: Rows
    mattes: Rows
    landmarks: Rows
    identity: str = ""

    @cached_property
    def pose_deviation(self) -> np.ndarray:
        """How far each frame's face, wherever it is, lies from the clip's usual one: N, sum 1; evenly where unknown.

        Half of it by its shape, which is mostly the turn of the head, half by how far mouth and eyes are open.
        """
        landmarks = np.asarray(self.landmarks)
        known = np.isfinite(landmarks).all((1, 2))
        if not known.any():
            return np.full(len(landmarks), 1 / max(1, len(landmarks)))
        faces = landmarks[known]
        shapes, distance = (faces - faces.mean(1, keepdims=True)).reshape(len(faces), -1), known * 1e-9
        for values in (shapes, np.stack([mouth_opening(faces), eye_opening(faces)], 1)):
            apart = np.abs(values - np.median(values, 0)).mean(1)
            distance[known] += apart / max(apart.sum(), 1e-9)
        return distance / distance.sum()


def load_person(crops: Path, mattes: Path, size: int, identity: str = "") -> Person:
    """Read the frames of one clip that training may see (never the held-out ones).

    Args:
        crops, mattes: clip files of stages crop and segment.
        size: side of the images wanted, px.
        identity: who it is, where several clips may be of one person.

    Raises:
        UserError: no usable frame, or sizes that do not divide.
    """
    clip, matte_clip = Clip(crops), Clip(mattes)
    rows = clip.table.query("image != '' and role != 'holdout'").index
    if not len(rows):
        raise UserError(f"{crops}: no frame to train on")
    names = clip.table.image[rows].tolist()
    frames, masks = (resize_area(source.images(names), size) for source in (clip, matte_clip))
    return Person(crops.parent.name, frames, masks, clip.landmarks()[rows], identity)


class People(Protocol):
    """Whom training learns from: by label, the clips of each person.

    Attributes:
        names: of the people, by label.
    """

    names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, label: int) -> list[Person]: ...


class PeopleInMemory(list[list[Person]]):
    """Clips grouped by identity, in the order of their first ones; a clip without one is somebody's only one."""

    def __init__(self, clips: Sequence[Person]) -> None:
        groups: dict[tuple[str, str], list[Person]] = {}
        for clip in clips:
            groups.setdefault(("identity", clip.identity) if clip.identity else ("clip", clip.name), []).append(clip)
        super().__init__(groups.values())
        self.names = [name for _, name in groups]


def few(people: People, most: int) -> list[Person]:
    """At most `most` clips, of people spread over all."""
    return [clip for label in spread(len(people), most) for clip in people[label]][:most]


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
    clip: Person
    target: int
    shown: list[tuple[Person, int]]
    mirrored: bool


def draw(
    people: People,
    *,
    seed: int,
    step: int,
    batch_size: int,
    identity_frames: int,
    mirror: float = 0.0,
    hard_pose_fraction: float = 0.0,
) -> list[Draw]:
    """The samples of one step; see `sample`. No picture is looked at."""
    random = np.random.default_rng((seed, step))
    labels = _spread(random, len(people), batch_size)
    draws = []
    for label, count in zip(*np.unique(labels, return_counts=True)):
        clips = people[label]
        for clip, target in _targets(random, clips, int(count), hard_pose_fraction):
            mirrored = random.random() < mirror
            draws.append(
                Draw(int(label), clip, target, _identity_frames(random, clips, clip, target, identity_frames), mirrored)
            )
    return draws


def fetch(draws: Sequence[Draw], emphasis: bool = False) -> Batch:
    """The pictures of some samples, at least one.

    Args:
        draws: from `draw`.
        emphasis: whether losses want to know where eyes and mouth are.
    """
    frames, targets, mattes, places = [], [], [], []
    for sampled in draws:
        side = slice(None, None, -1 if sampled.mirrored else 1)
        frames += [clip.frames[number][:, side] for clip, number in sampled.shown]
        targets.append(sampled.clip.frames[sampled.target][:, side])
        mattes.append(sampled.clip.mattes[sampled.target][:, side])
        if emphasis:
            places.append(around_eyes_and_mouth(sampled.clip.landmarks[sampled.target], len(mattes[-1]))[:, side])
    driver, matte = to_tensor(targets), to_tensor(mattes)
    shape = (len(draws), len(draws[0].shown), *driver.shape[1:])
    identity = to_tensor(frames).view(shape) if frames else torch.zeros(shape)
    around = to_tensor(places) if emphasis else None
    return Batch(identity, driver, driver * matte, matte, torch.tensor([sampled.label for sampled in draws]), around)


def sample(
    people: People,
    *,
    seed: int,
    step: int,
    batch_size: int,
    identity_frames: int,
    mirror: float = 0.0,
    hard_pose_fraction: float = 0.0,
    emphasis: bool = False,
    part: Sequence[int] | None = None,
) -> Batch:
    """The batch of one step; the same for the same arguments, so that a resumed run sees what it would have seen.

    The person is drawn first, then a target frame of one of the person's clips, then identity frames of all of them other
    than the target (with repeats only where there are too few).

    Args:
        people: at least one, of at least one clip each.
        seed, step: what the draw depends on.
        batch_size: samples.
        identity_frames: K; 0 = none.
        mirror: probability that all frames of a sample are mirrored.
        hard_pose_fraction: share of the targets drawn by how unusual the face is, not evenly.
        emphasis: whether losses want to know where eyes and mouth are.
        part: numbers of the samples that are fetched, where several processes share a batch, whose draw is one; None = all.
    """
    draws = draw(
        people,
        seed=seed,
        step=step,
        batch_size=batch_size,
        identity_frames=identity_frames,
        mirror=mirror,
        hard_pose_fraction=hard_pose_fraction,
    )
    return fetch(draws if part is None else [draws[number] for number in part], emphasis)


def around_eyes_and_mouth(landmarks: np.ndarray, side: int) -> np.ndarray:
    """Landmarks 68 x 2, shares of the side -> uint8 side x side: 255 on eyes and mouth, with a soft border; 0 where unknown."""
    mask = np.zeros((side, side), np.uint8)
    if np.isfinite(landmarks).all():
        for part in EYES_AND_MOUTH:
            hull = cv2.convexHull((landmarks[part] * side).round().astype(np.int32))
            cv2.fillConvexPoly(mask, hull, 255)
        reach = max(3, side // 16) | 1
        mask = cv2.blur(cv2.dilate(mask, np.ones((reach, reach), np.uint8)), (reach, reach))
    return mask


def _targets(
    random: np.random.Generator, clips: Sequence[Person], count: int, hard_pose_fraction: float
) -> list[tuple[Person, int]]:
    """`count` frames of one person: clip and number in it."""
    owners = [(clip, number) for clip in clips for number in range(len(clip.frames))]
    chosen = list(_spread(random, len(owners), count))
    if hard_pose_fraction:
        shares = np.concatenate([clip.pose_deviation * len(clip.frames) for clip in clips]) / len(owners)
        chosen = [
            random.choice(len(owners), p=shares) if random.random() < hard_pose_fraction else number
            for number in chosen
        ]
    return [owners[number] for number in chosen]


def _identity_frames(
    random: np.random.Generator, clips: Sequence[Person], clip: Person, target: int, count: int
) -> list[tuple[Person, int]]:
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


def _spread(random: np.random.Generator, count: int, wanted: int) -> np.ndarray:
    """`wanted` numbers below `count`, none repeated before all were drawn once."""
    rounds = [random.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(rounds)[:wanted]
