"""A model of the warping family: from a person's photos and pose descriptors to pictures."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.data.images import fit
from reenact.models.face_encoder import FaceEncoder
from reenact.models.family import Identity, Model, Pictures, References
from reenact.models.pose_edit import PoseEdit, check_controls, mixed
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.compose import (
    EDGE,
    LEAST,
    changed_matte,
    compose,
    expected_matte,
    given_channels,
    inside,
    recoloured,
    sample,
)
from reenact.models.warping.expression import Expressions, Face, added, face_of
from reenact.models.warping.face_model import FaceModel, place
from reenact.models.warping.light import lit
from reenact.models.warping.mesh import INNER_LIPS, POINTS
from reenact.models.warping.mesh_network import MeshNetwork
from reenact.models.warping.network import Refiner
from reenact.models.warping.reference import Reference, beside_mirror_images, make_surfaces, nearness
from reenact.models.warping.references import make_references
from reenact.runtime.errors import UserError
from reenact.settings.model import PHOTOS

DETAIL = 1 / 32
"""What is smaller is a detail, sides of the picture."""
SURER = 4
"""Power of the weights by which photos give details: those of one photo, since several never lie exactly on each other.
Tones are blended as they are (two bands: Burt and Adelson, ACM Transactions on Graphics 2, 1983)."""


class WarpingReenactor(Model):
    """Pose descriptor, face model and refiner; a personal one has photos of its person.

    Args:
        architecture: sizes.
        references: of the person; those of weights that are loaded later may hold anything, in the same shapes.
    """

    family = "warping"
    architecture: WarpingArchitecture

    def __init__(self, architecture: WarpingArchitecture, references: References | None = None) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.pose_encoder = FaceEncoder(a.pose_dim)
        self.mesh_network = MeshNetwork()
        self.face = FaceModel(POINTS, a.blendshapes, a.shapes, a.pose_dim, a.waves)
        self.refiner = Refiner(a.blendshapes, a.widths, a.mirrored)
        self.own = nn.Module() if references else None
        if self.own is not None and references is not None:
            for name, value in vars(references).items():
                if value is not None:
                    self.own.register_buffer(name, value)
        self._last: tuple[Tensor, _Driven] | None = None

    @property
    def artist(self) -> Refiner:
        """See `reenact.models.family.Model`."""
        return self.refiner

    @property
    def personal(self) -> bool:
        """Whether it has photos of a person."""
        return self.own is not None

    def identify(self, crops: Pictures, mattes: Pictures | None = None, count: int = PHOTOS) -> References:
        """The best of a person's photos, and what they say of the person's face. A personal model shows its own person.

        Args:
            crops, mattes: uint8 S x S x 3 and S x S, at least one.
            count: most photos to keep.

        Raises:
            UserError: no photo, or no mattes.
        """
        if self.own is not None:
            return References(**dict(self.own.named_buffers()))
        if mattes is None:
            raise UserError("a model of the warping family moves photos: it needs mattes beside the crops")
        return make_references(self.mesh_network, self.pose_encoder, self.face, crops, mattes, count)

    def show(
        self, pose: Tensor | None, identity: Identity | None = None, edit: PoseEdit | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `reenact.models.family.Model`; with `pose` None, the person's face is that of its first photo."""
        driven, edit = self._driven(identity), edit or PoseEdit()
        self.check_edit(pose is not None, edit)
        if pose is not None and edit.does_nothing:
            return driven(pose)
        return driven.picture(driven.edited(pose, replace(edit, controls=mixed(edit.controls, self.controls))))

    def traceable(self) -> nn.Module:
        """See `reenact.models.family.Model`."""
        return self._driven(None)

    def said(self, poses: Tensor) -> Face:
        """What descriptors B x P say of a personal model's person."""
        known = self.identify(())
        return face_of(self.face.read(poses), known.neutral, known.head_offset)

    def personalised(
        self, crops: Pictures, mattes: Pictures, count: int, image_size: int | None = None
    ) -> "WarpingReenactor":
        """An avatar of the person in crops, with the same weights; see `identify`.

        Args:
            image_size: side of its pictures, px; None = this model's. What is generated is no finer for it.
        """
        known, size = self.identify(crops, mattes, count), image_size or self.architecture.image_size
        return self.rebuilt(known, image_size=size).eval()

    def rebuilt(
        self, references: References | None = None, fresh: tuple[str, ...] = (), **sizes: Any
    ) -> "WarpingReenactor":
        """A model with other references or sizes, and the same weights and controls.

        Args:
            references: see the class.
            fresh: names of weights that are not taken over, since they have another shape there.
            sizes: of the architecture that are other ones.
        """
        other = WarpingReenactor(replace(self.architecture, **sizes), references)
        kept = {name: value for name, value in self.state_dict().items() if name not in fresh}
        other.load_state_dict(kept, strict=False)
        other.controls = self.controls
        return other

    def check_identity(self, identity: Identity | None, count: int) -> None:
        """See `reenact.models.family.Model`."""
        if isinstance(identity, References) or (identity is None and self.personal):
            return
        if identity is None:
            raise UserError("a meta-model has no person of its own; give identity=avatar.identify(crops, mattes)")
        raise UserError(
            "identity: an embedding; a model of the warping family shows photos, avatar.identify(crops, mattes)"
        )

    def check_edit(self, pose_given: bool, edit: PoseEdit) -> None:
        """See `reenact.models.family.Model`."""
        check_controls(edit.controls, self.controls)
        if pose_given and edit.relative and edit.driver is None:
            raise UserError("relative: a driver's change needs its neutral frame; give PoseEdit(driver=descriptors)")

    def _driven(self, identity: Identity | None) -> "_Driven":
        """A person's photos as surfaces; those of last time are kept."""
        self.check_identity(identity, 1)
        if identity is None:
            identity = self.identify(())
        assert isinstance(identity, References)
        if self._last is None or self._last[0] is not identity.photos:
            self._last = identity.photos, _Driven(self, identity).to(self.face.mean.device)
        return self._last[1]


class _Driven(nn.Module):
    """A person's photos, ready to follow poses B x P."""

    def __init__(self, net: WarpingReenactor, known: References) -> None:
        super().__init__()
        self.face, self.refiner = net.face, net.refiner
        self._describe = (net.pose_encoder, net.architecture.pose_size)  # in a tuple: no part of this module
        references = make_surfaces(net.face, known, net.architecture.working_size)
        if net.architecture.mirrored:
            references = beside_mirror_images(references, net.face)
        self.references = nn.ModuleList(references)
        self.register_buffer("neutral", known.neutral)
        self.register_buffer("head_offset", known.head_offset)
        self.size = net.architecture.image_size

    def forward(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """As `WarpingReenactor.show`."""
        return self.picture(self.said(pose))

    def said(self, pose: Tensor) -> Face:
        """What descriptors B x P say of this person."""
        return face_of(self.face.read(pose), self.neutral, self.head_offset)

    def picture(self, face: Face) -> tuple[Tensor, Tensor]:
        """As `WarpingReenactor.show`."""
        return show(self.refiner, list(self.references), face.shape, face.head, face.blendshapes, self.size)

    @cached_property
    def expressions(self) -> Expressions:
        """How the face is moved on request."""
        return Expressions(self.face)

    @cached_property
    def own(self) -> Face:
        """The face of the first photo, which of those that are kept has the least expression."""
        first = self.references[0]
        with torch.no_grad():
            encoder, size = self._describe
            read = self.face.read(encoder(fit(first.image[None, :3], size)))
        return Face(first.shape[None], first.head[None], read.blendshapes)

    def edited(self, pose: Tensor | None, edit: PoseEdit) -> Face:
        """The faces that are shown of what descriptors B x P say, by an edit; None = of the person's own face."""
        if pose is None:
            face = self.own
        elif edit.follows_plainly:
            face = self.said(pose)
        else:
            face = self.expressions.following(self.own, self._wanted(pose, edit), edit)
        return self.expressions.moved(face, self.neutral[None], edit.controls)

    def _wanted(self, pose: Tensor, edit: PoseEdit) -> Face:
        """What the driver says of this person, before gains."""
        said = self.said(pose)
        calm = None if edit.driver is None else self.said(_calmest(self.face, edit.driver.to(pose)))
        if edit.relative:
            assert calm is not None  # see check_edit
            said = added(self.own, said, calm)
        if not edit.retarget:
            return said
        usual = replace(self.own, shape=self.neutral[None])
        change = self.face.read(pose).shape
        still = torch.zeros_like(change[:1]) if calm is None else calm.shape - self.neutral
        drivers = Face(self.face.mean + torch.cat([change, still]), said.head, said.blendshapes)
        return self.expressions.retargeted(said, usual, drivers, edit)


def _calmest(face: FaceModel, poses: Tensor) -> Tensor:
    """Of descriptors N x P the one with the least expression: 1 x P."""
    return poses[face.read(poses).blendshapes.square().mean(1).argmin()][None]


def blank_references(weights: dict[str, Tensor]) -> References | None:
    """References of the shapes that a state dict has, None where it has none."""
    names = [key for key in weights if key.startswith("own.")]
    return (
        References(**{name.removeprefix("own."): torch.empty_like(weights[name]) for name in names}) if names else None
    )


def show(
    refiner: Refiner, references: Sequence[Reference], shape: Tensor, head: Tensor, blendshapes: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Pictures of a face B x M x 3 (canonical) where a head is, B x HEAD; see `WarpingReenactor.show`."""
    moved = [reference.move(shape, head) for reference in references]
    given = [given_channels(reference, to) for reference, to in zip(references, moved, strict=True)]
    lips = inside(place(shape[:, list(INNER_LIPS)], head)[..., :2], given[0].shape[-1])
    near = nearness(references, shape, head)
    flipped = near.new_tensor([[reference.flipped for reference in references]]).expand_as(near)
    made = compose(refiner, torch.stack(given, 1), lips, blendshapes, near, flipped)
    names = ("flow", "share", "matte_change", "generated", "covered", "before")
    flow, share, change, generated, covered, before = (resized(made[name], size) for name in names)
    weights, colours = (resized(made[name].flatten(1, 2), size) for name in ("weights", "colours"))
    seen = [sample(to.shown, resized(to.flow, size) + flow) for to in moved]
    seen = [lit(picture, made["light"][:, k]) if references[k].flipped else picture for k, picture in enumerate(seen)]
    photo = blended(seen, weights, colours)
    matte = changed_matte(expected_matte(photo[:, 3:], covered, before), change)
    colour = (photo[:, :3] / photo[:, 3:].clamp_min(LEAST)).clamp(0, 1)
    shown = in_two_bands([colour, generated], torch.cat([share, 1 - share], 1))
    return shown.clamp(0, 1) * matte, matte


def blended(photos: Sequence[Tensor], weights: Tensor, colours: Tensor) -> Tensor:
    """Photos B x 4 x S x S (RGB times matte, and matte) as one, by weights of mattes and of colours, B x K x S x S each
    and with the sum 1."""
    mattes = torch.cat([photo[:, 3:] for photo in photos], 1)
    # Where a photo shows nobody it has no colour to give, however much it is trusted.
    known = colours * mattes.clamp_min(EDGE)
    known = known / known.sum(1, keepdim=True)
    return recoloured(in_two_bands(photos, known), (weights * mattes).sum(1, keepdim=True))


def in_two_bands(pictures: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Pictures B x C x S x S as one, by weights B x K x S x S that sum to 1: details are those of the surest.

    At edges it goes beyond what the pictures hold.
    """
    surest = weights**SURER
    soft, sharp = weighted(pictures, weights), weighted(pictures, surest / surest.sum(1, keepdim=True))
    # Bilinear from means over squares: a tenth of the time of means around each pixel.
    side = weights.shape[-1]
    return sharp + resized(functional.avg_pool2d(soft - sharp, max(1, round(DETAIL * side))), side)


def weighted(pictures: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The sum of pictures B x C x S x S, by weights B x K x S x S."""
    total = torch.zeros((), device=weights.device)
    for k, picture in enumerate(pictures):
        total = total + weights[:, k : k + 1] * picture
    return total


def resized(x: Tensor, size: int) -> Tensor:
    """B x C x S x S -> B x C x size x size."""
    return functional.interpolate(x, (size, size), mode="bilinear", align_corners=False)
