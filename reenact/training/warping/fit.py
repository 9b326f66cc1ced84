"""The face model, by least squares over faces whose meshes and blendshapes are known."""

from dataclasses import dataclass

import numpy as np
import torch

from reenact.models.warping.face_model import FaceModel, align
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

WAVE_SPREAD = 0.1
"""Spread of the waves' directions, for descriptors of which each number has the spread 1: how near two descriptors are
that say the same."""


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
    """Fill in a face model: directions, then read-outs.

    Args:
        face: changed in place.
        faces: several clips.
    """
    fit_directions(face, faces)
    fit_readouts(face, faces)


def fit_directions(face: FaceModel, faces: Faces) -> None:
    """Find the mean face, and the directions in which faces move.

    The directions are principal components of how canonical meshes differ from their person's mean, over long clips
    and their mirror images.

    Args:
        face: changed in place.
        faces: several clips.
    """
    count = len(face.basis)
    long = faces.of_long_clips()
    middles = np.array([rows[len(rows) // 2] for rows in long])
    mean = mean_mesh(faces.meshes[middles])
    changes = _changes(align(faces.meshes, mean).canonical(faces.meshes), long)
    both = np.concatenate([changes, (changes * [-1, 1, 1])[:, MeanFace(mean).mirrored]]).reshape(2 * len(changes), -1)
    directions = np.linalg.svd(both[:: -(-len(both) // MOST)], full_matrices=False)[2][:count]
    directions = np.pad(directions, [(0, count - len(directions)), (0, 0)])  # few faces move in few directions
    sizes = (both @ directions.T).std(0)
    _store(face, "mean", mean)
    _store(face, "basis", (directions * np.where(sizes > LEAST_SIZE, sizes, 0)[:, None]).reshape(count, -1, 3))


def fit_readouts(face: FaceModel, faces: Faces) -> None:
    """Find what descriptors say, for the mean face and the directions that the model has.

    Read-outs of shape are fitted to how canonical meshes differ from their person's mean, which says nothing of who it
    is, and, since whoever always smiles smiles in the mean too, to what blendshapes say of that mean, and of photos.

    Args:
        face: changed in place.
        faces: several clips.
    """
    _store(face, "blendshape_mean", faces.blendshapes.mean(0))
    _store(face, "blendshape_std", np.maximum(faces.blendshapes.std(0), 0.03))
    heads = face.align(faces.meshes)
    long = faces.of_long_clips()
    changes = _changes(heads.canonical(faces.meshes), long)
    shapes = np.zeros((len(faces.meshes), len(face.basis)))
    shapes[np.concatenate(long)] = changes.reshape(len(changes), -1) @ np.linalg.pinv(
        face.basis.flatten(1).cpu().double().numpy()
    )
    shapes = _without_person(shapes, faces.blendshapes, long)
    _fit_features(face, faces.descriptors, np.concatenate([faces.blendshapes, shapes, heads.numbers()], 1))


def _changes(canonical: np.ndarray, clips: list[np.ndarray]) -> np.ndarray:
    """How meshes differ from their clip's mean, clip after clip."""
    return np.concatenate([canonical[rows] - canonical[rows].mean(0) for rows in clips])


def _without_person(changes: np.ndarray, blendshapes: np.ndarray, clips: list[np.ndarray]) -> np.ndarray:
    """How shapes differ from a face without expression, whoever it is: N x D.

    Of a clip's mean shape it is not known what is expression and what is the person: it is taken to be what its
    blendshapes say, and so is the shape of every photo. What a change of blendshapes does to a shape is learned within
    clips.

    Args:
        changes: N x D, within clips, of their shapes from the clip's mean.
        blendshapes: N x E.
        clips: rows of each clip.
    """
    rows = np.concatenate(clips)
    within = np.concatenate([blendshapes[clip] - blendshapes[clip].mean(0) for clip in clips])
    effect = np.linalg.solve(within.T @ within + np.eye(within.shape[1]), within.T @ changes[rows])
    usual = blendshapes.copy()
    for clip in clips:
        usual[clip] = blendshapes[clip].mean(0)
    return changes + (usual - blendshapes[rows].mean(0)) @ effect


def _fit_features(face: FaceModel, descriptors: np.ndarray, wanted: np.ndarray) -> None:
    """A ridge regression of what is wanted of each face, N x columns, from features of its descriptor."""
    _store(face, "descriptor_mean", descriptors.mean(0))
    _store(face, "descriptor_std", descriptors.std(0) + 1e-6)
    random = np.random.default_rng(0)
    _store(face, "wave_directions", WAVE_SPREAD * random.normal(size=face.wave_directions.shape))
    _store(face, "wave_phases", random.uniform(0, 2 * np.pi, face.wave_phases.shape))
    features = face.features(torch.from_numpy(descriptors).to(face.mean)).cpu().double().numpy()
    features = np.column_stack([features, np.ones(len(features))])
    pull = RIDGE * np.diag([1.0] * (features.shape[1] - 1) + [0.0])  # the mean itself is not pulled
    _store(face, "readout", np.linalg.solve(features.T @ features + pull, features.T @ wanted))


def _store(face: FaceModel, name: str, value: np.ndarray) -> None:
    getattr(face, name).copy_(torch.from_numpy(value))
