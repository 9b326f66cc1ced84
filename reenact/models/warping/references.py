"""Whom a warping model shows: which photos of a person are kept, and what is known of the person's face."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.data.images import fit, to_tensor
from reenact.data.sequence import spread
from reenact.models.face_encoder import SIZE
from reenact.models.family import Pictures, References
from reenact.models.warping.face_model import FaceModel, ReadPose, place
from reenact.models.warping.mesh import INNER_LIPS, OUTER_EYE_CORNERS
from reenact.models.warping.mesh_network import MeshNetwork
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import batches

LOOKED_AT = 64
"""Most photos of a person that are looked at, spread evenly over all."""

SHARP = 0.7
"""A photo is not kept that has less than this fraction of the median's sharpness."""

CLEAR = 1 / 3
"""Fraction of the photos that may be kept: those whose lips are the most certain."""

LIKE_THE_FIRST = 1 / 2
"""Fraction of those that may be kept beside the first: those whose colours differ least from it."""

CONTEXT = 1.5
"""Side of what the mesh network wants to see, in sides of the face's box."""

LEFT, RIGHT = OUTER_EYE_CORNERS
_AT_ONCE = 16


def make_references(
    mesh_network: MeshNetwork, pose_encoder: nn.Module, face: FaceModel, crops: Pictures, mattes: Pictures, count: int
) -> References:
    """Look at a person's photos and keep the best of them.

    Blurred photos are left out, and those whose lips are least certain (a hand, a microphone). Of the rest the first is
    the one with the least expression. Of those whose colours are like the first one's, each further one differs most in
    head and expression from those before. What is known of the face is a mean over all that are sharp and certain.

    Args:
        mesh_network, pose_encoder, face: of the model.
        crops, mattes: of the person, uint8 S x S x 3 and S x S.
        count: most photos to keep, at least 1.

    Raises:
        UserError: no photo.
    """
    if not len(crops):
        raise UserError("references: no photo of the person")
    numbers = looked_at(len(crops))
    looked = [crops[number] for number in numbers]
    meshes, doubts, colours, poses = [], [], [], []
    with torch.no_grad():
        for batch in batches(looked, _AT_ONCE):
            pictures = fit(to_tensor(batch), SIZE).to(face.mean.device)
            meshes.append(find_meshes(mesh_network, pictures))
            doubts.append(doubt(mesh_network, face, pictures, meshes[-1]))
            colours.append(skin(pictures, meshes[-1]))
            poses.append(pose_encoder(pictures))
        read = face.read(torch.cat(poses))
    found = torch.cat(meshes)
    heads = face.align(found)
    canonical = torch.from_numpy(heads.canonical(found.double().cpu().numpy())).to(read.shape)
    offsets = torch.from_numpy(heads.numbers()).to(read.head) - read.head
    sharp = np.array([sharpness(*pair) for pair in zip(looked, _at(mattes, numbers), strict=True)])
    good = clear(sharp, torch.cat(doubts).cpu().numpy(), count)
    kept = choose(read, good, torch.cat(colours), count)
    photos = [np.dstack([crops[numbers[k]], mattes[numbers[k]]]) for k in kept]
    return References(
        photos=torch.from_numpy(np.stack(photos)),
        meshes=found[kept],
        neutral=(canonical - read.shape)[good].mean(0),
        head_offset=offsets[good].mean(0),
    )


def looked_at(count: int) -> list[int]:
    """Numbers of those of `count` photos among which references are chosen."""
    return spread(count, LOOKED_AT)


def clear(sharp: np.ndarray, doubts: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the photos that are sharp and whose lips are certain, at least `count` where there are as many.

    Args:
        sharp: N, their sharpness.
        doubts: N, `doubt`.
        count: at least 1.
    """
    good = np.flatnonzero(sharp >= SHARP * np.median(sharp))
    return good[np.argsort(doubts[good], kind="stable")[: max(count, math.ceil(CLEAR * len(good)))]]


def choose(read: ReadPose, good: np.ndarray, colours: Tensor, count: int) -> list[int]:
    """Numbers of at most `count` photos among the good ones; see `make_references`.

    Args:
        read: of all photos.
        good: numbers of those that may be chosen.
        colours: of all photos, `skin`.
        count: at least 1.
    """
    head = read.head.clone()
    head[:, 6:] = 0  # where the head is and how large does not matter
    posed = place(read.shape, head).flatten(1)
    turned = head[:, :6] * posed.abs().mean() * posed.shape[1] ** 0.5
    apart = torch.cdist(torch.cat([posed, turned], 1), torch.cat([posed, turned], 1)).cpu().numpy()
    unusual = read.blendshapes.square().mean(1).cpu().numpy()
    kept = [int(good[unusual[good].argmin()])]
    # What lies before a face (a hand) changes the colours of its mesh more than an expression does.
    strange = (colours - colours[kept[0]]).abs().mean((1, 2)).cpu().numpy()
    good = good[np.argsort(strange[good], kind="stable")[: max(count, math.ceil(LIKE_THE_FIRST * len(good)))]]
    while len(kept) < min(count, len(good)):
        nearest = apart[good][:, kept].min(1)
        kept.append(int(good[nearest.argmax()]))
    return kept


def skin(crops: Tensor, meshes: Tensor) -> Tensor:
    """Colours of the points of meshes in crops, brightness and contrast set aside: B x M x 3."""
    found = functional.grid_sample(crops, meshes[:, None, :, :2] * 2 - 1, mode="bilinear", align_corners=False)
    found = found[:, :, 0].transpose(1, 2)
    return (found - found.mean(1, keepdim=True)) / found.std((1, 2), keepdim=True).clamp_min(1e-3)


@torch.no_grad()
def doubt(mesh_network: MeshNetwork, face: FaceModel, crops: Tensor, meshes: Tensor) -> Tensor:
    """How unsure the lips of faces are: how differently they are found in the mirrored crop, in distances of the eyes.

    A hand before the mouth makes the network guess, and it guesses otherwise when the picture is mirrored.

    Args:
        mesh_network, face: of the model.
        crops: B x 3 x SIZE x SIZE in [0, 1].
        meshes: B x M x 3, as they were found in the crops.

    Returns:
        B.
    """
    swapped = find_meshes(mesh_network, crops.flip(3))[:, face.mean_face().mirrored]
    swapped = torch.cat([1 - swapped[..., :1], swapped[..., 1:]], 2)
    gap = (meshes - swapped)[:, list(INNER_LIPS), :2].norm(dim=2).mean(1)
    return gap / (meshes[:, RIGHT] - meshes[:, LEFT]).norm(dim=1)


def sharpness(crop: np.ndarray, matte: np.ndarray) -> float:
    """Mean absolute Laplacian where the person is, of the picture at 128 px: uint8 S x S x 3 and S x S."""
    size = (128, 128)
    grey = cv2.cvtColor(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    weight = cv2.resize(matte, size, interpolation=cv2.INTER_AREA) / 255
    return float((np.abs(cv2.Laplacian(grey, cv2.CV_32F)) * weight).sum() / max(weight.sum(), 1e-6))


@torch.no_grad()
def find_meshes(mesh_network: MeshNetwork, crops: Tensor) -> Tensor:
    """The meshes of faces in crops B x 3 x SIZE x SIZE in [0, 1] -> B x M x 3, fractions of the side.

    The network wants an upright face of a certain size, so that it looks twice: at the middle of the crop, then at what
    it found there.
    """
    middle = crops.new_tensor([[0.84, 0.0, 0.5], [0.0, 0.84, 0.5]]).expand(len(crops), 2, 3)
    first = _look(mesh_network, crops, middle)
    return _look(mesh_network, crops, _windows(first[..., :2]))


def _windows(points: Tensor) -> Tensor:
    """Upright squares around faces: B x M x 2 -> B x 2 x 3, from a square of side 1 around 0 to the crop."""
    right = points[:, RIGHT] - points[:, LEFT]
    right = right / right.norm(dim=1, keepdim=True)
    axes = torch.stack([right, torch.stack([-right[:, 1], right[:, 0]], 1)], 2)
    turned = points @ axes
    low, high = turned.min(1).values, turned.max(1).values
    side = CONTEXT * (high - low).max(1).values
    middle = torch.einsum("bij,bj->bi", axes, (low + high) / 2)
    return torch.cat([axes * side[:, None, None], middle[:, :, None]], 2)


def _look(mesh_network: MeshNetwork, crops: Tensor, windows: Tensor) -> Tensor:
    """Meshes as they are found in windows of crops, B x 2 x 3."""
    steps = (torch.arange(SIZE, device=crops.device) + 0.5) / SIZE - 0.5
    grid = torch.stack([steps.expand(SIZE, SIZE), steps[:, None].expand(SIZE, SIZE)], 2).flatten(0, 1)
    at = torch.einsum("bij,nj->bni", windows[:, :, :2], grid) + windows[:, None, :, 2]
    seen = functional.grid_sample(
        crops, at.view(len(crops), SIZE, SIZE, 2) * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False
    )
    found = mesh_network(seen)
    flat = torch.einsum("bij,bnj->bni", windows[:, :, :2], found[..., :2] - 0.5) + windows[:, None, :, 2]
    size = windows[:, :, 0].norm(dim=1)[:, None, None]
    return torch.cat([flat, found[..., 2:] * size], 2)


def _at(values: Pictures, numbers: Sequence[int]) -> list[np.ndarray]:
    return [values[number] for number in numbers]
