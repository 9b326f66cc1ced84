"""Training samples: frames of clips at the model's size, in memory, drawn by step number."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.clip import Clip
from reenact.errors import UserError
from reenact.images import resize_area, to_tensor

# Of the 68 iBUG landmarks: the number that each one gets when the picture is mirrored.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
]  # fmt: skip
EYES_AND_MOUTH = (range(36, 42), range(42, 48), range(48, 60))


@dataclass(frozen=True)
class Batch:
    """Samples of one step; images float in [0, 1].

    Attributes:
        identity_frames: B x K x 3 x H x W, other frames of the same clip; K = 0 in fine-tuning.
        driver: B x 3 x H x W, the frame whose pose is wanted.
        target: B x 3 x H x W, the same frame times its matte.
        matte: B x 1 x H x W.
        label: B, number of the person (`people_of`).
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
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in given.items() if value is not None})


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
    frames: np.ndarray
    mattes: np.ndarray
    landmarks: np.ndarray
    identity: str = ""

    @cached_property
    def unusualness(self) -> np.ndarray:
        """How far each frame's face, wherever it is, lies from the clip's usual one: N, sum 1; evenly where unknown."""
        shapes = self.landmarks - self.landmarks.mean(1, keepdims=True)
        known = np.isfinite(shapes).all((1, 2))
        distance = np.zeros(len(shapes))
        if known.any():
            distance[known] = np.abs(shapes[known] - np.median(shapes[known], 0)).mean((1, 2))
        return distance / distance.sum() if distance.sum() else np.full(len(shapes), 1 / max(1, len(shapes)))


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


def people_of(clips: list[Person]) -> dict[str, list[Person]]:
    """Clips by person, in their order: the number of a person here is its label."""
    people: dict[str, list[Person]] = {}
    for clip in clips:
        people.setdefault(clip.identity or f"clip {clip.name}", []).append(clip)
    return people


def sample(
    clips: list[Person], *, seed: int, step: int, batch_size: int, identity_frames: int, mirror: float = 0.0,
    extremes: float = 0.0, emphasis: bool = False,
) -> Batch:  # fmt: skip
    """Draw the batch of one step; the same for the same arguments, so that a resumed run sees what it would have seen.

    The person is drawn first, then a target frame of one of the person's clips, then identity frames of all of them other
    than the target (with repeats only where there are too few).

    Args:
        clips: at least one.
        seed, step: what the draw depends on.
        batch_size: samples.
        identity_frames: K; 0 = none.
        mirror: probability that all frames of a sample are mirrored.
        extremes: share of the targets drawn by how unusual the face is, not evenly.
        emphasis: whether losses want to know where eyes and mouth are.
    """
    random = np.random.default_rng((seed, step))
    people = list(people_of(clips).values())
    labels = np.sort(_spread(random, len(people), batch_size))
    frames, targets, mattes, places = [], [], [], []
    for label in np.unique(labels):
        count = int((labels == label).sum())
        for clip, target in _targets(random, people[label], count, extremes):
            side = slice(None, None, -1 if random.random() < mirror else 1)
            chosen = _identity_frames(random, people[label], clip, target, identity_frames)
            frames += [image[:, side] for image in chosen]
            targets.append(clip.frames[target][:, side])
            mattes.append(clip.mattes[target][:, side])
            if emphasis:
                places.append(around_eyes_and_mouth(clip.landmarks[target], clip.frames.shape[1])[:, side])
    driver, matte = to_tensor(np.stack(targets)), to_tensor(np.stack(mattes))
    shape = (batch_size, identity_frames, *driver.shape[1:])
    identity = to_tensor(np.stack(frames)).view(shape) if identity_frames else torch.zeros(shape)
    around = to_tensor(np.stack(places)) if emphasis else None
    return Batch(identity, driver, driver * matte, matte, torch.from_numpy(labels), around)


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


def _targets(random: np.random.Generator, clips: list[Person], count: int, extremes: float) -> list[tuple[Person, int]]:
    """`count` frames of one person: clip and number in it."""
    owners = [(clip, number) for clip in clips for number in range(len(clip.frames))]
    chosen = list(_spread(random, len(owners), count))
    if extremes:
        shares = np.concatenate([clip.unusualness * len(clip.frames) for clip in clips]) / len(owners)
        chosen = [random.choice(len(owners), p=shares) if random.random() < extremes else number for number in chosen]
    return [owners[number] for number in chosen]


def _identity_frames(random: np.random.Generator, clips: list[Person], clip: Person, target: int, count: int) -> list[np.ndarray]:
    """Frames of one person other than the target."""
    owners = [(other, number) for other in clips for number in range(len(other.frames)) if other is not clip or number != target]
    owners = owners or [(clip, target)]
    chosen = random.choice(len(owners), count, replace=len(owners) < count)
    return [owners[number][0].frames[owners[number][1]] for number in chosen]


def _spread(random: np.random.Generator, count: int, wanted: int) -> np.ndarray:
    """`wanted` numbers below `count`, none repeated before all were drawn once."""
    rounds = [random.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(rounds)[:wanted]
