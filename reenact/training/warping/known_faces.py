"""What a warping model's own networks see in the frames that its refiner learns from: asked once, before training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from reenact.data.clip_arrays import load_clip_arrays, store_clip_arrays
from reenact.data.images import fit, to_tensor
from reenact.data.sequence import spread
from reenact.data.training_clips import TrainingClip
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.models.warping.references import find_meshes
from reenact.runtime.parallel import batches
from reenact.training import distributed

MOST = 160
"""Frames of a clip that are looked at, spread over it; each takes about 0.1 s of a core, and 12 kB of memory."""

FILE = "known_faces.npz"
"""In the run folder, so that a run that goes on does not ask again."""

_AT_ONCE = 16


@dataclass(frozen=True)
class KnownFaces:
    """Faces in frames of one clip.

    Attributes:
        rows: N, numbers of the frames.
        meshes: float32 N x M x 3, fractions of the side.
        blendshapes: float32 N x E, as the refiner is given them.
    """

    rows: np.ndarray
    meshes: np.ndarray
    blendshapes: np.ndarray


def find_known_faces(model: WarpingReenactor, clips: Sequence[TrainingClip], folder: Path) -> list[KnownFaces]:
    """Faces in every clip; ranks share the work.

    Args:
        model: whose networks look, where they are.
        clips: of frames of any size; networks see them at the pose encoder's size.
        folder: of the run, where they are kept.
    """
    path = folder / FILE
    if not all(distributed.all_gather([path.exists()])):
        mine = range(distributed.rank(), len(clips), distributed.world_size())
        bar = tqdm(mine, desc="faces of clips", mininterval=5, disable=not distributed.is_main())
        found = dict(distributed.all_gather([(number, _find(model, clips[number])) for number in bar]))
        ordered = [found[number] for number in range(len(clips))]
        if distributed.is_main():
            store_clip_arrays(path, ordered)
        return ordered
    return load_clip_arrays(path, KnownFaces)


@torch.no_grad()
def _find(model: WarpingReenactor, clip: TrainingClip) -> KnownFaces:
    rows = spread(len(clip.frames), MOST)
    meshes, blendshapes = [], []
    for chunk in batches(rows, _AT_ONCE):
        pictures = fit(to_tensor([clip.frames[row] for row in chunk]), model.architecture.pose_size)
        pictures = pictures.to(model.face.mean.device)
        meshes.append(find_meshes(model.mesh_network, pictures).float().cpu())
        blendshapes.append(model.face.read(model.pose_encoder(pictures)).blendshapes.float().cpu())
    return KnownFaces(np.array(rows), torch.cat(meshes).numpy(), torch.cat(blendshapes).numpy())
