"""What the face in each training frame does, by mediapipe's face landmarker, and samples of it to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reenact.data.images import to_tensor
from reenact.data.pose_samples import geometric_augment, photometric_augment, replace_background
from reenact.data.sequence import spread
from reenact.data.training_clips import TrainingClip
from reenact.faces.blendshapes import BLENDSHAPES, FaceLandmarker
from reenact.faces.face import IBUG_68
from reenact.faces.face_mesh import MESH_POINTS
from reenact.faces.landmarks import FACE_MEASURES, face_measures
from reenact.runtime.parallel import ToolPool, thread_map
from reenact.runtime.progress import progress

MEASURES = (*BLENDSHAPES, *FACE_MEASURES)
"""Names of the numbers that are learned."""
MOVING = 8
"""A clip of so many frames moves; what has fewer is a person's photos."""
# Of the detector's: a crop is made around a face, so that there is one.
_MIN_CONFIDENCE = 0.3
_LEAST_STD = 0.03
_USUAL, _SPREAD = (torch.tensor([values[part] for values in FACE_MEASURES.values()]) for part in (0, 1))
_SWAPPED = [
    BLENDSHAPES.index(name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")) for name in BLENDSHAPES
]
"""Of the blendshapes: the number that each one gets when the picture is mirrored."""


@dataclass(frozen=True)
class Expressions:
    """What is known of some frames of a clip.

    Attributes:
        rows: their numbers: K.
        meshes: of the landmarker, fractions of the side: float32 K x 478 x 3.
        blendshapes: float32 K x 52.
    """

    rows: np.ndarray
    meshes: np.ndarray
    blendshapes: np.ndarray

    @property
    def landmarks(self) -> np.ndarray:
        """The 68 landmarks among them, x and y: float32 K x 68 x 2."""
        return self.meshes[:, IBUG_68, :2]


def find_expressions(clips: Sequence[TrainingClip], bundle: Path, most: int, threads: int) -> list[Expressions]:
    """Look at clips.

    Args:
        clips: of crops of 256 px.
        bundle: face_landmarker_v2.task.
        most: frames of each clip, spread over it; those in which no face is found are left out.
        threads: that look at a time.

    Raises:
        UserError: the bundle cannot be read.
    """
    landmarkers = ToolPool([FaceLandmarker(bundle, min_confidence=_MIN_CONFIDENCE) for _ in range(threads)])

    def look(clip: TrainingClip) -> Expressions:
        """What the landmarker says of one clip."""
        rows = spread(len(clip.frames), most)
        seen = landmarkers.use(lambda landmarker: [landmarker.read(clip.frames[row]) for row in rows])
        known = [(row, found) for row, found in zip(rows, seen, strict=True) if found is not None]
        side = np.float32(clip.frames[0].shape[0])
        return Expressions(
            np.array([row for row, _ in known], int),
            np.array([found.points / side for _, found in known], np.float32).reshape(-1, MESH_POINTS, 3),
            np.array([found.blendshapes for _, found in known], np.float32).reshape(-1, len(BLENDSHAPES)),
        )

    return list(progress(thread_map(look, clips, threads), len(clips), "expressions", unit="clip"))


class ExpressionSamples:
    """Frames and what their faces do, changed so that it is learned whoever does it, and wherever.

    Half of the frames come from clips that move, half from photos; the clips evenly; the frames of a clip, and the
    photos, half of them evenly and half by how unusual the expression is.

    Args:
        clips: to draw from.
        found: what is known of each.
        device: where the samples are wanted.

    Attributes:
        mean, std: of the blendshapes: 52.
    """

    def __init__(self, clips: Sequence[TrainingClip], found: Sequence[Expressions], device: torch.device) -> None:
        self._clips, self._found, self._device = clips, found, device
        known = [number for number, expressions in enumerate(found) if len(expressions.rows)]
        shapes = np.concatenate([found[number].blendshapes for number in known]) if known else np.zeros((1, 52))
        self.mean = torch.from_numpy(shapes.mean(0)).float()
        self.std = torch.from_numpy(np.maximum(shapes.std(0), _LEAST_STD)).float()
        moving = [number for number in known if len(clips[number].frames) >= MOVING]
        photos = [number for number in known if len(clips[number].frames) < MOVING]
        # Each pool: clip and position of every frame, and how often it is drawn.
        self._pools = [
            (np.concatenate([_places(found[n], n) for n in group]), np.concatenate(shares))
            for group, shares in (
                (moving, [self._shares([number]) / len(moving) for number in moving]),
                (photos, [self._shares(photos)] if photos else []),
            )
            if group
        ]

    def __bool__(self) -> bool:
        """Whether there is any frame with a face."""
        return bool(self._pools)

    def __len__(self) -> int:
        return sum(len(places) for places, _ in self._pools)

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Changed frames count x 3 x S x S in [0, 1], and the `MEASURES` of each, normalised: count x 64.

        All that is random follows from `seed`.
        """
        random = np.random.default_rng(seed)
        chosen: list[tuple[int, int]] = []
        for part, (places, shares) in enumerate(self._pools):
            wanted = count * (part + 1) // len(self._pools) - len(chosen)
            chosen += [(int(clip), int(at)) for clip, at in places[random.choice(len(places), wanted, p=shares)]]
        frames, mattes = (
            np.stack([getattr(self._clips[clip], part)[int(self._found[clip].rows[at])] for clip, at in chosen])
            for part in ("frames", "mattes")
        )
        points, shapes = (
            torch.from_numpy(np.stack([getattr(self._found[clip], part)[at] for clip, at in chosen]))
            for part in ("landmarks", "blendshapes")
        )
        torch.manual_seed(seed)
        images = replace_background(to_tensor(frames).to(self._device), to_tensor(mattes).to(self._device))
        images, points, mirrored = geometric_augment(images, points.to(self._device))
        mirrored = mirrored.cpu()
        shapes = torch.where(mirrored[:, None], shapes[:, _SWAPPED], shapes)
        measures = torch.from_numpy(face_measures(points.cpu().numpy())).float()
        targets = torch.cat([(shapes - self.mean) / self.std, (measures - _USUAL) / _SPREAD], 1)
        return photometric_augment(images), targets.to(self._device)

    def scale(self) -> tuple[Tensor, Tensor]:
        """What the normalised `MEASURES` are to be multiplied by, and what is to be added, to be what they are."""
        return torch.cat([self.std, _SPREAD]), torch.cat([self.mean, _USUAL])

    def _shares(self, numbers: list[int]) -> np.ndarray:
        """How often each frame of these clips is drawn, sum 1: half evenly, half by its distance from their median."""
        shapes = np.concatenate([self._found[number].blendshapes for number in numbers])
        points = np.concatenate([self._found[number].landmarks for number in numbers])
        values = np.concatenate([shapes / self.std.numpy(), face_measures(points)[:, :9] / _SPREAD[:9].numpy()], 1)
        apart = np.abs(values - np.median(values, axis=0)).mean(axis=1) + 1e-6
        return 0.5 * apart / apart.sum() + 0.5 / len(apart)


def _places(found: Expressions, number: int) -> np.ndarray:
    """Number of the clip, and position among its known frames, of each of them: K x 2."""
    return np.stack([np.full(len(found.rows), number), np.arange(len(found.rows))], axis=1)
