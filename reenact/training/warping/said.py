"""The pose encoder learns on by the pictures: photos are moved to where it says that the face is.

Elsewhere photos move as meshes do that another network found, and the encoder stays as it is.
"""

from dataclasses import replace

import torch
from torch import Tensor

from reenact.data.images import fit
from reenact.models.warping.compose import given_channels, inside
from reenact.models.warping.expression import LEFT_LIDS, LIPS, RIGHT_LIDS, lid_gap
from reenact.models.warping.face_model import place
from reenact.models.warping.mesh import INNER_LIPS
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.models.warping.reference import nearness
from reenact.training.warping.samples import Frames, WarpingBatch, WarpingSampler

GENTLE = 0.01
"""What gradients are multiplied by on their way to the encoder: they are a hundred times the refiner's, with which they
are shortened together."""

OPENINGS = 10.0
"""Weight of how far lips and lids are open in the error of meshes, against all of the face."""


def as_said(
    model: WarpingReenactor, batch: WarpingBatch, sampler: WarpingSampler
) -> tuple[WarpingBatch, dict[str, Tensor]]:
    """Samples whose photos move as the encoder says, where `WarpingBatch.source` names the frames, with gradients.

    Args:
        model: a meta-model.
        batch: of the sampler.
        sampler: on the CPU, where photos are moved.

    Returns:
        The batch, and terms without their weights: `mesh` and `blendshapes`, scalars.
    """
    numbers = [k for k in range(len(batch)) if batch.source[k, 0] >= 0]
    # All ranks have gradients of all weights, whatever their samples are.
    none = torch.stack([weight.sum() for weight in model.pose_encoder.parameters()]).sum() * 0
    terms = {"mesh": none, "blendshapes": none}
    if not numbers:
        return batch, terms
    frames = [sampler.frames_of(batch.source[k]) for k in numbers]
    pictures = torch.cat([one.pictures for one in frames]).to(batch.target)
    poses = model.pose_encoder(fit(pictures, model.architecture.pose_size))
    changed = {name: list(getattr(batch, name)) for name in ("given", "lips", "expression", "nearness")}
    with torch.autocast(pictures.device.type, enabled=False):  # meshes need more than 8 bits
        poses = poses.float()
        poses = GENTLE * poses + (1 - GENTLE) * poses.detach()
        said = poses.split([len(one.pictures) for one in frames])
        for number, one, pose in zip(numbers, frames, said, strict=True):
            moved, errors = _moved(model, one, pose, batch.target.shape[-1])
            for name, value in moved.items():
                changed[name][number] = value
            for name, error in errors.items():
                terms[name] = terms[name] + error / len(batch)
    return replace(batch, **{name: torch.stack(values) for name, values in changed.items()}), terms


def _moved(
    model: WarpingReenactor, frames: Frames, poses: Tensor, side: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Fields of one sample by what its descriptors, (1 + K) x P, say; and how wrong that is."""
    read = model.face.read(poses)
    shapes, heads = frames.shapes.to(poses), frames.heads.to(poses)
    # As an avatar of these photos: what they say of themselves is set aside.
    shape = read.shape[:1] + (shapes[1:] - read.shape[1:]).mean(0, keepdim=True)
    head = read.head[:1] + (heads[1:] - read.head[1:]).mean(0, keepdim=True)
    near = (shape.detach().cpu(), head.detach().cpu())
    given = [given_channels(one, one.move(shape.cpu(), head.cpu()))[0] for one in frames.references]
    fields = {
        "given": torch.stack(given).to(poses),
        "lips": inside(place(shape.detach()[:, list(INNER_LIPS)], head.detach())[..., :2], side)[0],
        "expression": read.blendshapes[0],
        "nearness": nearness(frames.references, *near)[0].to(poses),
    }
    openings = torch.stack([lid_gap(shape - shapes[:1], pair) for pair in (LIPS, RIGHT_LIDS, LEFT_LIDS)]).abs().mean()
    errors = {
        "mesh": (place(shape, head) - place(shapes[:1], heads[:1])).abs().mean() + OPENINGS * openings,
        "blendshapes": (read.blendshapes[0] - frames.blendshapes.to(poses)).abs().mean(),
    }
    return fields, errors
