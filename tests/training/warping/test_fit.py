"""The face model by least squares, of faces that are made up."""

from dataclasses import replace

import numpy as np
import torch

from reenact.models.warping.face_model import FaceModel
from reenact.models.warping.mesh import POINTS
from reenact.training.warping.fit import Faces, fit_face_model, fit_readouts

FRAMES = 40


def clips_that_smile(usual):
    """A clip for each usual smile, around which it changes: faces of one direction, one blendshape, and descriptors."""
    random = np.random.default_rng(0)
    face = random.normal(0, 0.1, (POINTS, 3))
    lips = np.zeros((POINTS, 3))
    lips[:20, 0] = 0.02
    smiles = np.concatenate([value + 0.2 * np.sin(np.arange(FRAMES)) for value in usual])
    descriptors = np.column_stack([smiles, random.normal(size=len(smiles))])
    meshes = face + 0.5 + smiles[:, None, None] * lips
    return Faces(meshes, np.repeat(np.arange(len(usual)), FRAMES), smiles[:, None], descriptors)


def test_who_always_smiles_is_seen_to_smile():
    faces = clips_that_smile([0.0, 0.0, 0.8, 0.8])
    model = FaceModel(POINTS, blendshapes=1, shapes=2, pose_dim=2)
    fit_face_model(model, faces)
    shape = model.read(torch.from_numpy(faces.descriptors).float()).shape[:, :20, 0].numpy().mean(1)
    usual = shape.reshape(4, FRAMES).mean(1)
    within = np.ptp(shape.reshape(4, FRAMES), axis=1).mean() / np.ptp(faces.blendshapes[:FRAMES])
    assert (usual[2:].mean() - usual[:2].mean()) / 0.8 > 0.8 * within > 0


def test_waves_read_what_is_not_linear_in_the_descriptor():
    """Here a smile is a product of two things that the descriptor says; tried on frames that were not fitted to."""
    random = np.random.default_rng(1)
    faces = clips_that_smile([0.0] * 20)
    first = random.uniform(-1, 1, len(faces.meshes))
    said = np.column_stack([first, faces.blendshapes[:, 0] / (first + 2)]) @ random.normal(size=(2, 64))
    shown = slice(3, None, 4)
    fitted = [
        np.delete(part, np.arange(len(first))[shown], 0) for part in vars(replace(faces, descriptors=said)).values()
    ]
    errors = []
    for waves in (0, 300):
        model = FaceModel(POINTS, blendshapes=1, shapes=2, pose_dim=64, waves=waves)
        fit_face_model(model, Faces(*fitted))
        read = model.read(torch.from_numpy(said[shown]).float()).shape[:, :20, 0].mean(1)
        true = torch.from_numpy(faces.blendshapes[shown, 0]).float() * 0.02
        errors.append((read - true).std() / true.std())
    assert errors[1] < 0.5 * errors[0], errors


def test_read_outs_are_fitted_to_the_directions_that_a_model_has():
    faces = clips_that_smile([0.0, 0.5])
    model = FaceModel(POINTS, blendshapes=1, shapes=2, pose_dim=2, waves=10)
    fit_face_model(model, faces)
    whole = {name: value.clone() for name, value in model.named_buffers()}
    model.readout.zero_()
    fit_readouts(model, faces)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, whole[name], atol=1e-5, rtol=1e-4)
