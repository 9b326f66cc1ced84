"""The face model, by least squares over faces whose meshes and blendshapes are known."""

from dataclasses import dataclass

import numpy as np
import torch

from reenact.models.warping.face_model import FaceModel, Heads, align
from reenact.models.warping.mesh import MeanFace

ROUNDS = 4
"""Of aligning all meshes to their mean and taking the mean again."""

MOST = 8000
"""Meshes, mirrored ones included, that the directions are found from."""

FEWEST = 8
"""Frames of a clip from which on its person's usual face is known."""

LEAST_SIZE = 1e-6
"""Standard deviation along a direction below which nothing moves, fractions of the side."""

RIDGE = 10.0
"""Pull of the read-outs to the mean, in faces."""


@dataclass(frozen=True)
class Faces:
    """Faces to fit a model to.

    Attributes:
        meshes: N x M x 3.
        clips: N, which clip each is from, numbers from 0.
        blendshapes: N x E.
        descriptors: N x P.
    """

    meshes: np.ndarray
    clips: np.ndarray
    blendshapes: np.ndarray
    descriptors: np.ndarray

    def of_long_clips(self) -> list[np.ndarray]:
        """Rows of each clip of at least FEWEST faces."""
        order = np.argsort(self.clips, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.clips[order])) + 1)
        return [rows for rows in groups if len(rows) >= FEWEST]


def mean_mesh(meshes: np.ndarray) -> np.ndarray:
    """The centred and symmetric mean of meshes N x M x 3 -> M x 3."""
    mean = meshes[0] - meshes[0].mean(0)
    for _ in range(ROUNDS):
        mean = align(meshes, mean).canonical(meshes).mean(0)
        mean = (mean + (mean * [-1, 1, 1])[MeanFace(mean).mirrored]) / 2
    return mean


def fit_face_model(face: FaceModel, faces: Faces) -> None:
    """Fill in a face model.

    The directions are principal components of how canonical meshes differ from their person's mean, over long clips
    and their mirror images; the read-outs of shape are fitted to the same differences, so that they say nothing of who
    it is.

    Args:
        face: changed in place.
        faces: several clips.
    """
    count = len(face.basis)
    long = faces.of_long_clips()
    middles = np.array([rows[len(rows) // 2] for rows in long])
    mean = mean_mesh(faces.meshes[middles])
    heads = align(faces.meshes, mean)
    canonical = heads.canonical(faces.meshes)
    changes = np.concatenate([canonical[rows] - canonical[rows].mean(0) for rows in long])
    both = np.concatenate([changes, (changes * [-1, 1, 1])[:, MeanFace(mean).mirrored]]).reshape(2 * len(changes), -1)
    directions = np.linalg.svd(both[:: -(-len(both) // MOST)], full_matrices=False)[2][:count]
    directions = np.pad(directions, [(0, count - len(directions)), (0, 0)])  # few faces move in few directions
    sizes = (both @ directions.T).std(0)
    rows = np.concatenate(long)
    shapes = np.zeros((len(faces.meshes), count))
    shapes[rows] = changes.reshape(len(changes), -1) @ directions.T / np.maximum(sizes, LEAST_SIZE)
    _store(face, "mean", mean)
    _store(face, "basis", (directions * sizes[:, None]).reshape(count, -1, 3))
    _store(face, "blendshape_mean", faces.blendshapes.mean(0))
    _store(face, "blendshape_std", np.maximum(faces.blendshapes.std(0), 0.03))
    _fit_readout(face, faces, heads, shapes, rows)


def _fit_readout(face: FaceModel, faces: Faces, heads: Heads, shapes: np.ndarray, long: np.ndarray) -> None:
    """Ridge regressions from normalised descriptors: of the shape from long clips alone, of the rest from all faces."""
    mean, std = faces.descriptors.mean(0), faces.descriptors.std(0) + 1e-6
    normed = np.column_stack([(faces.descriptors - mean) / std, np.ones(len(faces.descriptors))])

    pull = RIDGE * np.diag([1.0] * (normed.shape[1] - 1) + [0.0])  # the mean itself is not pulled

    def ridge(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Weights (P + 1) x columns."""
        a = normed[rows]
        return np.linalg.solve(a.T @ a + pull, a.T @ wanted[rows])

    everything = np.arange(len(normed))
    parts = ridge(everything, faces.blendshapes), ridge(long, shapes), ridge(everything, heads.numbers())
    _store(face, "descriptor_mean", mean)
    _store(face, "descriptor_std", std)
    _store(face, "readout", np.concatenate(parts, 1))


def _store(face: FaceModel, name: str, value: np.ndarray) -> None:
    getattr(face, name).copy_(torch.from_numpy(value))
