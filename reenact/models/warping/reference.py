"""One photo of a person, ready to be moved by a face model."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.data.images import resize_to
from reenact.models.family import References
from reenact.models.warping.expression import LEFT_LIDS, RIGHT_LIDS, lid_gap
from reenact.models.warping.face_model import HEAD, FaceModel, place, rotation
from reenact.models.warping.mesh import EYES, INNER_LIPS
from reenact.models.warping.splat import fill, splat
from reenact.models.warping.surface import MARGIN, build_surface
from reenact.settings.model import PHOTOS

SEEN = 0.05
"""Coverage from which on a pixel counts as known."""

DENSITY = 1.5
"""Points of a photo for each pixel of what is made of it, along a side: so many that none stays empty in between."""

NEAR = 40.0
"""Of the choice between references by how like the wanted face they are, per size of a face."""

MOVING = 3.0
"""Weight of lips and lids in that likeness, against all of the face."""

LIPS_AND_LIDS = (*INNER_LIPS, *EYES[0], *EYES[1])

ON_HEAD = 0.5
"""How far a point goes along with the head from which on it is a part of it."""

STEEP = 16
"""How fast a relief begins beside the face: power of how far its expression moves a point."""

SHUT, OPEN = 0.15, 0.4
"""How far lids are open, of what they are in a photo, up to which nothing of the eye is seen, and from which on all."""

LEAST_GAP = 0.008
"""Of a photo's lids that are taken for open, of the mean mesh's unit, whose lids are 0.024 apart."""

SURE = 0.9
"""Matte from which on a photo's colour is the person's own."""

RIM = 1 / 200
"""Width of the rim inside of that whose colours are partly the background's all the same, fractions of the side."""


class Moved(NamedTuple):
    """Where a photo goes, B pictures of S x S px.

    Attributes:
        flow: B x 2 x S x S, from each pixel to where it comes from, fractions of the side.
        canonical: B x 3 x S x S, which point of a canonical head is seen; 0 where none is.
        coverage: B x 1 x S x S in [0, 1].
        shown: B x 4 x R x R, what moves: RGB times matte, and matte, with lids in place of eyes that are shut.
    """

    flow: Tensor
    canonical: Tensor
    coverage: Tensor
    shown: Tensor


class Reference(nn.Module):
    """A photo as a surface that can be moved.

    Args:
        face: the face model.
        photo: uint8 R x R x 4, RGB and matte.
        mesh: M x 3, of the face in it.
        side: of what is made of it, px.

    Attributes:
        image: 4 x R x R, straight RGB and matte.
        shown: 1 x 4 x R x R, RGB times matte, and matte.
        lids: 2 x 4 x R x R, what shutting the right and the left eye adds to it.
        eyes: where that is not 0: rows and columns of the right and the left eye.
        before: 1 x 1 x side x side, its matte; of a mirror image the photo's, since there the person was.
        shape: M x 3, its canonical face.
        head: HEAD, where its head is.
        flipped: whether it is a mirror image.
    """

    image: Tensor
    shown: Tensor
    lids: Tensor
    before: Tensor
    shape: Tensor
    head: Tensor
    points: Tensor
    canonical: Tensor
    corners: Tensor
    weights: Tensor
    rigid: Tensor
    elastic: Tensor
    behind: Tensor
    drawn: Tensor

    def __init__(self, face: FaceModel, photo: np.ndarray, mesh: np.ndarray, side: int) -> None:
        super().__init__()
        self.side, self.flipped = side, False
        mesh = mesh.astype(np.float64)
        heads = face.align(mesh[None])
        count = round(DENSITY * side)
        surface = build_surface(mesh, heads, photo[..., 3] / np.float32(255), face.mean_face(), count)
        values = {"shape": heads.canonical(mesh[None])[0], "head": heads.numbers()[0], **vars(surface)}
        corners = values.pop("corners")
        for name, value in values.items():
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)
        self.register_buffer("corners", torch.from_numpy(corners).long(), persistent=False)
        self.register_buffer("drawn", torch.zeros(len(corners)), persistent=False)
        image = straight(photo)
        rgb, matte = image[None].split([3, 1], 1)
        before = functional.interpolate(matte, (side, side), mode="bilinear", align_corners=False, antialias=True)
        shown = torch.cat([rgb * matte, matte], 1)
        lids = torch.cat([closed(rgb, mesh[list(outline), :2]) * matte - rgb * matte for outline in EYES])
        lids = torch.cat([lids, torch.zeros_like(lids[:, :1])], 1)
        self.eyes = [_extent(added.abs().amax(0)) for added in lids]
        for name, value in {"image": image, "shown": shown, "lids": lids, "before": before}.items():
            self.register_buffer(name, value, persistent=False)

    def _alike(self) -> "Reference":
        """Itself once more: whose buffers are replaced, those of this one stay."""
        other = copy.copy(self)
        other._buffers = dict(self._buffers)
        return other

    def with_relief(self, relief: Tensor) -> "Reference":
        """The same photo, of which more is known of what surrounds the face: hair, ears, neck and shoulders.

        Args:
            relief: 3 x G x G over the surface, margins included: how much deeper it lies than by the rule, fractions of
                the side; how much further it goes along with the head; and how far what does not is drawn after the
                head's place. Gradients reach it.
        """
        at = (self.points[:, :2] + MARGIN) / (1 + 2 * MARGIN) * 2 - 1
        found = functional.grid_sample(relief[None], at[None, None], align_corners=True)[0, :, 0]
        # The mesh knows the face, and eyes and mouths have rules of their own.
        deeper, further, drawn = found * ((1 - self.elastic**STEEP) * (self.behind == 0))
        deeper = deeper[:, None]
        other = self._alike()
        away = rotation(self.head[None])[0, 2] / self.head[9].exp()
        other.canonical = self.canonical + deeper * away
        other.points = torch.cat([self.points[:, :2], self.points[:, 2:] + deeper], 1)
        other.rigid = (self.rigid + further).clamp(0, 1)
        other.drawn = drawn
        return other

    def mirrored(self, face: FaceModel) -> "Reference":
        """Its mirror image, as a photo of the same person's head; `face` is the face model.

        Shoulders, which no turn of a head moves, are shown by the photo alone.
        """
        swapped = torch.from_numpy(face.mean_face().mirrored).to(self.corners.device)
        across = self.points.new_tensor([-1.0, 1.0, 1.0])
        right = self.points.new_tensor([1.0, 0.0, 0.0])
        # The first column of the rotation and x of the second: a reflection on both sides of it.
        turned = self.head.new_tensor([1, -1, -1, -1, 1, 1, -1, 1, 1, 1])
        other = self._alike()
        other.flipped = not self.flipped
        other.image, other.shown = self.image.flip(-1), self.shown.flip(-1)
        other.lids = self.lids.flip(0, -1)
        width = self.lids.shape[-1]
        other.eyes = [(rows, slice(width - x.stop, width - x.start)) for rows, x in reversed(self.eyes)]
        on_head = self.rigid > ON_HEAD
        for name in ("points", "canonical", "corners", "weights", "rigid", "elastic", "behind", "drawn"):
            setattr(other, name, getattr(self, name)[on_head])
        other.points, other.canonical = right + across * other.points, across * other.canonical
        other.corners = swapped[other.corners]
        other.shape = across * self.shape[swapped]
        other.head = turned * self.head + nn.functional.one_hot(torch.tensor(6), HEAD).to(self.head)
        return other

    def move(self, shape: Tensor, head: Tensor) -> Moved:
        """Move the photo so that it shows the face `shape` (B x M x 3, canonical) where the head is (B x HEAD)."""
        change = shape - self.shape
        elastic = (change[:, self.corners] * self.weights[..., None]).sum(2)
        moved = place(self.canonical + self.elastic[:, None] * elastic, head)
        rigid = self.rigid[:, None]
        way = (head[:, None, 6:9] - self.head[6:9]) * head.new_tensor([1.0, 1.0, 0.0])
        moved = rigid * moved + (1 - rigid) * (self.points + self.drawn[:, None] * way)
        carried = torch.cat([self.points[:, :2] - moved[..., :2], self.canonical.expand(moved.shape[0], -1, -1)], 2)
        means, coverage = splat(moved[..., :2], moved[..., 2] + self.behind, carried, self.side)
        known = (coverage > SEEN).float()
        return Moved(fill(means[:, :2], known), means[:, 2:] * known, coverage.clamp(0, 1), self._with_lids(shape))

    def _with_lids(self, shape: Tensor) -> Tensor:
        """What moves, for faces B x M x 3: between lids that shut, an eye would be squeezed to a line, not hidden."""
        shown = self.shown.expand(shape.shape[0], -1, -1, -1).clone()
        for lids, added, (rows, columns) in zip((RIGHT_LIDS, LEFT_LIDS), self.lids, self.eyes, strict=True):
            opening = lid_gap(shape, lids) / lid_gap(self.shape, lids).clamp_min(LEAST_GAP)
            shut = ((OPEN - opening) / (OPEN - SHUT)).clamp(0, 1)
            shown[:, :, rows, columns] += shut[:, None, None, None] * added[:, rows, columns]
        return shown


def make_surfaces(face: FaceModel, known: References, side: int, photo_side: int | None = None) -> list[Reference]:
    """A person's photos, ready to be moved.

    Args:
        face: the face model.
        known: the photos, and what is known of them.
        side: of what is made of them, px.
        photo_side: the photos are resized to it; None = they stay as they are.
    """
    pairs = zip(known.photos.cpu().numpy(), known.meshes.cpu().numpy(), strict=True)
    made = [Reference(face, resize_to(photo, photo_side or len(photo)), mesh, side) for photo, mesh in pairs]
    if known.relief is None:
        return made
    return [one.with_relief(relief) for one, relief in zip(made, known.relief.cpu(), strict=True)]


def _extent(mask: Tensor) -> tuple[slice, slice]:
    """Rows and columns of a mask R x R outside of which it is 0; at least one of each."""
    ends = []
    for seen in (mask.amax(1), mask.amax(0)):
        where = seen.nonzero()[:, 0].tolist() or [0]
        ends.append(slice(where[0], where[-1] + 1))
    return ends[0], ends[1]


def nearness(references: Sequence[Reference], shape: Tensor, head: Tensor) -> Tensor:
    """How like a wanted face the faces of references are, whatever their place and size: B x K, 0 or less.

    Of references that are equally visible, each counts e times less than another that is nearer by 1.

    Args:
        references: K of them.
        shape: B x M x 3, canonical.
        head: B x HEAD.
    """
    wanted = shape @ rotation(head).transpose(1, 2)
    size = wanted.square().sum(2).mean(1, keepdim=True).sqrt()
    found = []
    for reference in references:
        gap = (wanted - reference.shape @ rotation(reference.head[None]).transpose(1, 2)).square().sum(2)
        found.append((gap.mean(1) + MOVING * gap[:, list(LIPS_AND_LIDS)].mean(1)).sqrt())
    return -NEAR * torch.stack(found, 1) / size


def beside_mirror_images(references: Sequence[Reference], face: FaceModel) -> list[Reference]:
    """Photos and, while they are fewer than PHOTOS, the mirror images of the first of them.

    A mirror image shows the side of a head that its photo does not; who has several photos has other sides in them.
    """
    count = min(len(references), max(0, PHOTOS - len(references)))
    return [*references, *(reference.mirrored(face) for reference in references[:count])]


def straight(picture: np.ndarray) -> Tensor:
    """RGB and matte with the person's own colours up to the edge: uint8 R x R x 4 -> 4 x R x R in [0, 1].

    Else whoever stood before a white wall has a white line around dark hair on every other background.
    """
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    rgb, matte = image.split([3, 1], 1)
    reach = round(RIM * image.shape[-1])
    sure = (-functional.max_pool2d(-matte, 2 * reach + 1, stride=1, padding=reach) > SURE).float()
    return torch.cat([rgb * sure + fill(rgb, sure) * (1 - sure), matte], 1)[0]


def closed(rgb: Tensor, outline: np.ndarray) -> Tensor:
    """A picture in which an eye has the colours of its lashes: 1 x 3 x R x R and V x 2 (fractions)."""
    side = rgb.shape[-1]
    eye = np.zeros((side, side), np.uint8)
    cv2.fillPoly(eye, [np.rint((outline * side - 0.5) * 16).astype(np.int32)], 255, shift=4)
    reach = max(3, side // 64) | 1
    lashes = cv2.dilate(eye, np.ones((reach, reach), np.uint8)) - eye
    inside, around = (torch.from_numpy(mask)[None, None].float() / 255 for mask in (eye, lashes))
    return rgb + inside * (fill(rgb, around) - rgb)
