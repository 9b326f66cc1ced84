"""Samples that the refiner learns from, drawn by step number: photos of a person, moved to where a frame has the face.

A clip teaches motion: its frames are references and target. A still teaches what a turn uncovers, hair and silhouette:
it is turned by its mesh, what came of it is the reference, and the still itself the target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.data.images import resize_to, to_tensor, to_uint8
from reenact.data.rank_batch import RankBatch, StepBatch
from reenact.data.sequence import spread
from reenact.data.training_clips import People, TrainingClip
from reenact.models.warping.compose import given_channels, inside, sample
from reenact.models.warping.face_model import FaceModel, place, rotation
from reenact.models.warping.mesh import EYES, INNER_LIPS
from reenact.models.warping.network import GIVEN
from reenact.models.warping.reference import Reference, beside_mirror_images, nearness
from reenact.settings.training import TrainingSettings
from reenact.training.warping.fit import FEWEST
from reenact.training.warping.known_faces import KnownFaces

POOL = 16
"""Frames of a clip that are references, spread over it: so few that those of many clips stay in memory."""

REMEMBERED = 1500
"""References of clips that stay in memory, 2.5 MB each at 128 px."""

CLOSE = 1.4
"""Side of the square around eyes and lips, in sides of their box."""

TURN, ZOOM, SHIFT = (0.25, 0.45, 0.2), 0.12, 0.05
"""Most that a still is turned around x, y and z (radians), scaled (logarithm) and shifted (fraction of the side)."""

LANDED = 0.3
"""Coverage from which on a turned still shows the person."""

SAID = (0.8, 1.05)
"""How much of a motion the face model says: between these, since descriptors say it short rather than long."""


@dataclass(frozen=True)
class WarpingBatch(StepBatch):
    """Samples of one step, at the working size S; images in [0, 1].

    Attributes:
        given: B x K x GIVEN x S x S, the person's photos where the target has the face.
        lips: B x 1 x S x S, between the lips.
        expression: B x E, blendshapes of the target.
        nearness: B x K, how like the target's the faces in the photos are.
        mirrored: B x K, 1 for the mirror image of a photo.
        target: B x 3 x S x S, RGB times matte.
        matte: B x 1 x S x S.
        emphasis: B x 1 x S x S, 1 around eyes and mouth of the target, falling to 0.
        close: B x 3, the square around eyes and lips of the target: x and y of its middle, and its side, fractions.
        source: B x (2 + photos), int64: where a sample of a clip is from that the pose encoder learns by, for
            `WarpingSampler.frames_of`; -1 in others. Of the former, given, lips and nearness are 0 until `as_said`.
    """

    given: Tensor
    lips: Tensor
    expression: Tensor
    nearness: Tensor
    mirrored: Tensor
    target: Tensor
    matte: Tensor
    emphasis: Tensor
    close: Tensor
    source: Tensor


class Frames(NamedTuple):
    """Frames of one clip: a target, and the photos that are moved to where it has the face.

    Attributes:
        pictures: (1 + K) x 3 x S x S, the target first, as the pose encoder sees them before they are resized.
        references: the K photos, and mirror images beside few.
        shapes, heads: (1 + K) x M x 3 and x HEAD, as they are known.
        blendshapes: E, of the target, as they were known when the training began.
    """

    pictures: Tensor
    references: list[Reference]
    shapes: Tensor
    heads: Tensor
    blendshapes: Tensor


@dataclass(frozen=True)
class _Faces:
    """A clip and its N known faces; meshes as `Reference` and the face model want them.

    Attributes:
        name: of the person.
        hard: N, sum 1: how far pose and expression are from the clip's usual ones.
    """

    name: str
    clip: TrainingClip
    rows: np.ndarray
    meshes: np.ndarray
    shapes: Tensor
    heads: Tensor
    blendshapes: Tensor
    hard: np.ndarray


class WarpingSampler:
    """Draws the batch of any step: `sampler(step)`. A sample follows from the settings, the step and its index within
    the batch alone, so that a resumed run, or one in other numbers of processes, sees what it would have seen.

    References of a sample are of the target's own clip, whose light and hair they share. In fine-tuning they are the
    avatar's own, without the target.

    Args:
        people: at least one.
        known: faces in their clips, in the order of the people; a clip of fewer than FEWEST is one of stills.
        face: of the model.
        side: working size S, px.
        mirrored: whether few photos are shown beside their mirror images, as when the model drives.
        settings: seed, `hard_pose_fraction` of the targets, and `warping`.
        rank_batch: how many samples a batch has, and which of them are made.
        own: an avatar's photos, of the one clip that is given: number of the frame -> photo.
    """

    def __init__(
        self,
        people: People,
        known: Sequence[KnownFaces],
        face: FaceModel,
        side: int,
        mirrored: bool,
        settings: TrainingSettings,
        rank_batch: RankBatch,
        own: Mapping[int, Reference] = MappingProxyType({}),
    ) -> None:
        self._face, self._side, self._settings, self._rank_batch = face, side, settings, rank_batch
        self._mirrored, self._own = mirrored, own
        directions = face.basis.flatten(1).double()
        self._in_basis = (torch.linalg.pinv(directions) @ directions).float()
        labels = [(label, clip) for label in range(len(people)) for clip in people[label]]
        self._clips = [
            _of_clip(people.names[label], clip, faces, face) for (label, clip), faces in zip(labels, known, strict=True)
        ]
        owners: dict[int, list[int]] = {}
        for number, (label, _) in enumerate(labels):
            if len(self._clips[number].rows) >= FEWEST:
                owners.setdefault(label, []).append(number)
        self._people = list(owners.values())
        moving = {number for numbers in self._people for number in numbers}
        self._stills = [
            (number, row)
            for number, faces in enumerate(self._clips)
            if number not in moving or own
            for row in range(len(faces.rows))
        ]
        self._reference = lru_cache(REMEMBERED)(self._make_reference)

    @torch.no_grad()
    def __call__(self, step: int) -> WarpingBatch:
        """The samples of one step that this rank works on."""
        counts = self._settings.warping.references
        count, indices = counts[step % len(counts)], self._rank_batch.indices
        if self._own:
            count = min(count, max(1, len(self._own) - 1))
        made = [self._sample(np.random.default_rng((self._settings.seed, step, index)), count) for index in indices]
        names = [name for name, _ in made]
        tensors = {key: torch.stack([sample[key] for _, sample in made]) for key in made[0][1]}
        return WarpingBatch(**tensors, names=names, rank_batch=self._rank_batch)

    def _sample(self, random: np.random.Generator, count: int) -> tuple[str, dict[str, Tensor]]:
        """A sample with so many references: the person's name, and the fields of `WarpingBatch` without B."""
        source, said = [-1] * (2 + count), self._settings.warping.said
        if self._stills and (not self._people or random.random() < self._settings.warping.stills):
            number, target = self._stills[random.integers(len(self._stills))]
            references = [self._turned(random, number, target) for _ in range(count)]
        else:
            number = self._draw_clip(random)
            target = self._draw_target(random, self._clips[number])
            rows = self._photo_rows(random, number, target, count)
            references = self._photos(number, rows)
            if said and not self._own and random.random() < said:
                source = [number, target, *rows]
        references = self._beside_mirror_images(references)
        faces = self._clips[number]
        moved = self._moved(random, references, faces, target) if source[0] < 0 else self._unmoved(len(references))
        picture, matte = (to_tensor([image])[0] for image in self._pictures(faces, target))
        return faces.name, moved | {
            "expression": faces.blendshapes[target],
            "mirrored": torch.tensor([float(one.flipped) for one in references]),
            "target": picture * matte,
            "matte": matte,
            "emphasis": to_tensor([around_eyes_and_lips(faces.meshes[target], self._side)])[0],
            "close": close_square(faces.meshes[target]),
            "source": torch.tensor(source),
        }

    def _moved(
        self, random: np.random.Generator, references: list[Reference], faces: _Faces, target: int
    ) -> dict[str, Tensor]:
        """Photos moved to where a frame has the face, by what is known of it: some fields of `WarpingBatch`."""
        shape, head = faces.shapes[target][None], faces.heads[target][None]
        if random.random() < self._settings.warping.exact:
            shapes = [shape] * len(references)
        else:
            part = random.uniform(*SAID)
            shapes = [one.shape + part * self._projected(shape - one.shape) for one in references]
        given = [given_channels(one, one.move(to, head))[0] for one, to in zip(references, shapes, strict=True)]
        return {
            "given": torch.stack(given),
            "lips": inside(place(shapes[0][:, list(INNER_LIPS)], head)[..., :2], self._side)[0],
            "nearness": nearness(references, shape, head)[0],
        }

    def _unmoved(self, count: int) -> dict[str, Tensor]:
        """The same fields of a sample whose photos the pose encoder will move: zeros."""
        side = self._side
        return {
            "given": torch.zeros(count, GIVEN, side, side),
            "lips": torch.zeros(1, side, side),
            "nearness": torch.zeros(count),
        }

    def frames_of(self, source: Tensor) -> Frames:
        """What a sample was made of whose `WarpingBatch.source` this is."""
        number, *rows = source.tolist()
        faces = self._clips[number]
        return Frames(
            pictures=to_tensor([faces.clip.frames[int(faces.rows[row])] for row in rows]),
            references=self._beside_mirror_images(self._photos(number, rows[1:])),
            shapes=faces.shapes[rows],
            heads=faces.heads[rows],
            blendshapes=faces.blendshapes[rows[0]],
        )

    def _photo_rows(self, random: np.random.Generator, number: int, target: int, count: int) -> list[int]:
        """Which photos are moved to where one frame of a clip has the face: rows of the clip, or of an avatar's own."""
        if self._own:
            frame = int(self._clips[number].rows[target])
            frames = [*self._own]
            pool = [k for k, at in enumerate(frames) if at != frame] or [*range(len(frames))]
        else:
            pool = [row for row in spread(len(self._clips[number].rows), POOL) if row != target]
        return [int(row) for row in random.choice(pool, count, replace=len(pool) < count)]

    def _photos(self, number: int, rows: list[int]) -> list[Reference]:
        """Photos by what `_photo_rows` says."""
        if self._own:
            own = [*self._own.values()]
            return [own[row] for row in rows]
        return [self._reference(number, row) for row in rows]

    def _beside_mirror_images(self, references: list[Reference]) -> list[Reference]:
        return beside_mirror_images(references, self._face) if self._mirrored else references

    def _draw_clip(self, random: np.random.Generator) -> int:
        """The person first, then one of the person's clips."""
        numbers = self._people[random.integers(len(self._people))]
        return numbers[random.integers(len(numbers))]

    def _draw_target(self, random: np.random.Generator, faces: _Faces) -> int:
        hard = random.random() < self._settings.hard_pose_fraction
        return int(random.choice(len(faces.rows), p=faces.hard if hard else None))

    def _pictures(self, faces: _Faces, row: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame and its matte, uint8 S x S x 3 and S x S."""
        number = int(faces.rows[row])
        return resize_to(faces.clip.frames[number], self._side), resize_to(faces.clip.mattes[number], self._side)

    def _make_reference(self, number: int, row: int) -> Reference:
        faces = self._clips[number]
        return Reference(self._face, np.dstack(self._pictures(faces, row)), faces.meshes[row], self._side)

    def _projected(self, change: Tensor) -> Tensor:
        """As much of a change of shape as the face model can say: 1 x M x 3."""
        return (change.flatten(1) @ self._in_basis).view_as(change)

    def _turned(self, random: np.random.Generator, number: int, row: int) -> Reference:
        """A still as it would look from another side, with another expression."""
        faces = self._clips[number]
        shape = faces.shapes[row][None] + self._expression_change(random)
        head = turned_head(random, faces.heads[row])[None]
        # Of many people's stills one would hardly be met again in memory; of a single person's it is.
        still = (self._reference if self._own else self._make_reference)(number, row)
        moved = still.move(shape, head)
        image = sample(still.image[None], moved.flow)
        image[:, 3:] *= moved.coverage > LANDED
        return Reference(self._face, to_uint8(image)[0], place(shape, head)[0].numpy(), self._side)

    def _expression_change(self, random: np.random.Generator) -> Tensor:
        """Part of a change that somebody's face made in a clip, 1 x M x 3; none where there are stills alone."""
        if not self._people:
            return torch.zeros(1, *self._face.mean.shape)
        faces = self._clips[self._draw_clip(random)]
        first, second = random.integers(len(faces.rows), size=2)
        return random.uniform() * self._projected((faces.shapes[first] - faces.shapes[second])[None])


def turned_head(random: np.random.Generator, head: Tensor) -> Tensor:
    """Another place, turn and size of a head nearby: HEAD -> HEAD."""
    turn = torch.from_numpy(cv2.Rodrigues(random.uniform(-1, 1, 3) * TURN)[0]).to(head)
    columns = turn @ rotation(head[None])[0]
    shift = torch.from_numpy(random.uniform(-SHIFT, SHIFT, 3) * [1, 1, 0]).to(head)
    size = head[9:] + random.uniform(-ZOOM, ZOOM)
    return torch.cat([columns[:, 0], columns[:, 1], head[6:9] + shift, size])


def around_eyes_and_lips(mesh: np.ndarray, side: int) -> np.ndarray:
    """A mask, uint8 side x side: 255 on eyes and between lips of a mesh M x 3, with a soft border."""
    mask = np.zeros((side, side), np.uint8)
    for outline in (INNER_LIPS, *EYES):
        cv2.fillPoly(mask, [np.rint(mesh[list(outline), :2] * side).astype(np.int32)], 255)
    reach = max(3, side // 16) | 1
    return cv2.blur(cv2.dilate(mask, np.ones((reach, reach), np.uint8)), (reach, reach))


def close_square(mesh: np.ndarray) -> Tensor:
    """The square around eyes and lips of a mesh M x 3: x and y of its middle, and its side, fractions."""
    points = mesh[[*INNER_LIPS, *EYES[0], *EYES[1]], :2]
    low, high = points.min(0), points.max(0)
    return torch.tensor([*(low + high) / 2, CLOSE * (high - low).max()], dtype=torch.float32)


def _of_clip(name: str, clip: TrainingClip, known: KnownFaces, face: FaceModel) -> _Faces:
    heads = face.align(known.meshes)
    shapes = heads.canonical(known.meshes.astype(np.float64))
    return _Faces(
        name=name,
        clip=clip,
        rows=known.rows,
        meshes=known.meshes,
        shapes=torch.from_numpy(shapes).float(),
        heads=torch.from_numpy(heads.numbers()).float(),
        blendshapes=torch.from_numpy(known.blendshapes),
        hard=_hard(shapes[:, [*INNER_LIPS, *EYES[0], *EYES[1]]], heads.rotation),
    )


def _hard(openings: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Half by how far lips and lids are from where they usually are, half by the turn of the head: N, sum 1."""
    distance = np.full(len(openings), 1e-9)
    for values in (openings, rotations):
        apart = np.abs(values - np.median(values, 0)).mean((1, 2))
        distance += apart / max(apart.sum(), 1e-9)
    return distance / distance.sum()
