"""Clips of the astronaut who sways, and samples of them."""

import numpy as np
from face_shapes import mesh
from person_clips import oval, portrait
from warping_models import seeing_model

from reenact.data.rank_batch import divide_batch
from reenact.data.training_clips import PeopleInMemory, TrainingClip
from reenact.settings.meta import MetaSettings
from reenact.training.warping.known_faces import KnownFaces
from reenact.training.warping.samples import WarpingSampler

SIDE = 64


def clip(name, frames, seed=0):
    """The astronaut who sways, and the meshes of the frames."""
    random = np.random.default_rng(seed)
    shifts = 0.05 * np.sin(np.arange(frames))
    pictures = np.stack([portrait(x=x, size=SIDE) for x in shifts])
    meshes = mesh()[None] + np.stack([shifts, 0 * shifts, 0 * shifts], 1)[:, None] + [0.5, 0.5, 0]
    meshes = meshes + random.normal(0, 0.002, meshes.shape)
    blendshapes = random.normal(size=(frames, 4))
    known = KnownFaces(np.arange(frames), meshes.astype(np.float32), blendshapes.astype(np.float32))
    landmarks = np.full((frames, 68, 2), np.nan, np.float32)
    return TrainingClip(name, pictures, np.stack([oval(SIDE)] * frames), landmarks), known


def sampler(clips, rank_batch=None, mirrored=False, own=None, **warping):
    settings = MetaSettings(warping=warping, hard_pose_fraction=0.5)
    people, known = PeopleInMemory([one for one, _ in clips]), [faces for _, faces in clips]
    rank_batch = rank_batch or divide_batch(4)
    return WarpingSampler(people, known, seeing_model().face, SIDE, mirrored, settings, rank_batch, own or {})
