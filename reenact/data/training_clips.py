"""What training learns from: clips of people, one or several of each, whose frames lie in memory or in shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reenact.data.clip import Clip
from reenact.data.images import resize_area
from reenact.data.sequence import spread
from reenact.faces.landmarks import eye_opening, mouth_opening
from reenact.runtime.errors import UserError


class Rows(Protocol):
    """What training asks of an array of pictures or landmarks, so that it need not be in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> np.ndarray:
        """One row by its number, or some by a list of numbers."""

    def __array__(self, dtype: Any = ..., /) -> np.ndarray:
        """All rows."""


@dataclass(frozen=True)
class TrainingClip:
    """The frames of one clip that training may see.

    Attributes:
        name: of the clip.
        frames: uint8 N x S x S x 3.
        mattes: uint8 N x S x S.
        landmarks: float32 N x 68 x 2, as fractions of the side; NaN where unknown.
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


def load_training_clip(crops: Path, mattes: Path, size: int | None, identity: str = "") -> TrainingClip:
    """Read the frames of one clip that training may see (never the held-out ones).

    Args:
        crops, mattes: clip files of stages crop and segment.
        size: side of the images wanted, px; None = as large as the crops.
        identity: who it is, where several clips may be of one person.

    Raises:
        UserError: no usable frame, or sizes that do not divide.
    """
    clip, matte_clip = Clip(crops), Clip(mattes)
    rows = clip.table.query("image != '' and role != 'holdout'").index
    if not len(rows):
        raise UserError(f"{crops}: no frame to train on")
    names = clip.table.image[rows].tolist()
    frames, masks = (source.images(names) for source in (clip, matte_clip))
    if size is not None:
        frames, masks = resize_area(frames, size), resize_area(masks, size)
    return TrainingClip(crops.parent.name, frames, masks, clip.landmarks()[rows], identity)


class People(Protocol):
    """Whom training learns from: by label, the clips of each person.

    Attributes:
        names: of the people, by label.
    """

    names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, label: int) -> list[TrainingClip]: ...


class PeopleInMemory(list[list[TrainingClip]]):
    """Clips grouped by identity, in the order of their first ones; a clip without one is somebody's only one."""

    def __init__(self, clips: Sequence[TrainingClip]) -> None:
        groups: dict[tuple[str, str], list[TrainingClip]] = {}
        for clip in clips:
            groups.setdefault(("identity", clip.identity) if clip.identity else ("clip", clip.name), []).append(clip)
        super().__init__(groups.values())
        self.names = [name for _, name in groups]


@dataclass(frozen=True)
class Clips:
    """Clip files of stages crop and segment, one pair a clip; and who is seen in each (none = each shows another)."""

    crops: Sequence[Path] = ()
    mattes: Sequence[Path] = ()
    identities: Sequence[str] = ()

    @property
    def files(self) -> list[Path]:
        """All that they are read from."""
        return [*self.crops, *self.mattes]

    def load(self, size: int) -> PeopleInMemory:
        """Their frames at `size` px.

        Raises:
            UserError: not as many mattes or identities as clips, or a clip has no frame to train on.
        """
        names = self.identities or [""] * len(self.crops)
        for option, given in (("--mattes", self.mattes), ("--identities", names)):
            if len(given) != len(self.crops):
                raise UserError(
                    f"{option}: {len(given)} for {len(self.crops)} clips; give one for each, in the same order"
                )
        files = zip(self.crops, self.mattes, names, strict=True)
        return PeopleInMemory([load_training_clip(crops, mattes, size, identity) for crops, mattes, identity in files])


FEW = 500
"""Clips of a large set that the start of its training, measures and pictures look at, and that a model's file names."""


def few(people: People, most: int = FEW) -> list[TrainingClip]:
    """At most `most` clips, of people spread over all."""
    return [clip for label in spread(len(people), most) for clip in people[label]][:most]
