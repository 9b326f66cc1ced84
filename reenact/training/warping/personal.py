"""How the fine-tuning of an avatar that moves photos begins."""

import numpy as np

from reenact.data.images import resize_to
from reenact.data.training_clips import TrainingClip
from reenact.models.warping.face_model import FaceModel
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.models.warping.reference import Reference
from reenact.models.warping.references import looked_at
from reenact.settings.finetune import FinetuneSettings
from reenact.training.learner import Learner


def personal_learner(model: WarpingReenactor, clip: TrainingClip, settings: FinetuneSettings) -> Learner:
    """The avatar of the person in a clip, of which the refiner learns.

    Args:
        model: a meta-model.
        clip: frames of any size.
        settings: of the stage.
    """
    avatar = model.eval().personalised(clip.frames, clip.mattes, settings.references, settings.image_size)
    avatar.requires_grad_(False)
    avatar.refiner.train().requires_grad_(True)
    return Learner(avatar, None, settings)


def own_photos(avatar: WarpingReenactor, clip: TrainingClip, face: FaceModel) -> dict[int, Reference]:
    """An avatar's photos at its working size, each with the number of the frame of the clip that it is.

    Args:
        avatar: of the clip's frames.
        clip: as `personal_learner` was given it.
        face: the avatar's, on the CPU.
    """
    known, side = avatar.identify(()), avatar.architecture.working_size
    found = {}
    for photo, mesh in zip(known.photos.cpu().numpy(), known.meshes.cpu().numpy(), strict=True):
        number = next(k for k in looked_at(len(clip.frames)) if np.array_equal(clip.frames[k], photo[..., :3]))
        found[number] = Reference(face, resize_to(photo, side), mesh, side)
    return found
