"""What the refiner of a warping model learns from: its samples, and its losses."""

from copy import deepcopy
from pathlib import Path

import numpy as np

from reenact.data.rank_batch import RankBatch
from reenact.data.training_clips import People, TrainingClip
from reenact.models.warping.face_model import FaceModel
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.models.warping.reference import Reference, make_surfaces
from reenact.models.warping.references import looked_at
from reenact.settings.training import TrainingSettings
from reenact.training.warping.known_faces import find_known_faces
from reenact.training.warping.losses import WarpingObjective
from reenact.training.warping.samples import WarpingSampler


def warping_lessons(
    model: WarpingReenactor, people: People, folder: Path, settings: TrainingSettings, rank_batch: RankBatch
) -> tuple[WarpingSampler, WarpingObjective]:
    """Samples of any step, and what is learned by from them.

    Args:
        model: a meta-model; or an avatar of the one clip of the one person, which learns by its own photos.
        people: whom it learns from.
        folder: of the run.
        settings: of the stage.
        rank_batch: see `WarpingSampler`.
    """
    clips = [clip for label in range(len(people)) for clip in people[label]]
    known = find_known_faces(model, clips, folder)
    face = deepcopy(model.face).cpu()  # samples are made by the CPU
    own = own_photos(model, clips[0], face) if model.personal else {}
    side, mirrored = model.architecture.working_size, model.architecture.mirrored
    sampler = WarpingSampler(people, known, face, side, mirrored, settings, rank_batch, own)
    return sampler, WarpingObjective(settings, None if own else sampler)


def own_photos(avatar: WarpingReenactor, clip: TrainingClip, face: FaceModel) -> dict[int, Reference]:
    """An avatar's photos at its working size, each with the number of the frame of the clip that it is.

    Args:
        avatar: of the clip's frames.
        clip: as the avatar was made of it.
        face: the avatar's, on the CPU.
    """
    known, side = avatar.identify(()), avatar.architecture.working_size
    found = {}
    for photo, surface in zip(known.photos.cpu().numpy(), make_surfaces(face, known, side, side), strict=True):
        number = next(k for k in looked_at(len(clip.frames)) if np.array_equal(clip.frames[k], photo[..., :3]))
        found[number] = surface
    return found
