"""The constant family, the paper's: what drives (`Reenactor`), and the discriminator that goes with it."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from reenact.data.images import fit, to_tensor
from reenact.models.architecture import Architecture
from reenact.models.discriminator import Discriminator
from reenact.models.family import Identity, Model, Pictures
from reenact.models.generator import Generator
from reenact.models.mobilenet import MobileNetV2
from reenact.models.pose_edit import PoseEdit
from reenact.models.resnext import ResNeXt
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import batches

EMBEDDED_AT_ONCE = 8
"""Frames; memory grows with it."""


class Reenactor(Model):
    """Encoders and generator. A personal one has an identity embedding of its own in place of the encoder's.

    Args:
        architecture: sizes.
        personal: whether it has `identity_embedding`, 1 x identity_dim.
    """

    family = "constant"
    architecture: Architecture

    def __init__(self, architecture: Architecture, personal: bool = False) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.identity_encoder = ResNeXt(a.identity_dim, a.identity_layers, a.identity_width, a.identity_groups)
        self.pose_encoder = MobileNetV2(a.pose_dim, a.pose_width, a.pose_dropout)
        self.generator = Generator(a.image_size, a.identity_dim, a.pose_dim, a.generator_channels, a.max_channels)
        self.identity_embedding = nn.Parameter(torch.zeros(1, a.identity_dim)) if personal else None

    def embed(self, frames: Tensor) -> Tensor:
        """Identity embedding of each frame: ... x 3 x H x W in [0, 1] -> ... x I. A person's is their mean."""
        return self.identity_encoder(frames.flatten(0, -4)).unflatten(0, frames.shape[:-3])

    @property
    def artist(self) -> Generator:
        """See `reenact.models.family.Model`."""
        return self.generator

    @property
    def personal(self) -> bool:
        """Whether it has an identity embedding of its own."""
        return self.identity_embedding is not None

    def identify(self, crops: Pictures, mattes: Pictures | None = None) -> Tensor:
        """The mean embedding of a person's crops, 1 x I, or a personal model's own; mattes are not looked at."""
        return embed_person(self, crops)

    def show(
        self, pose: Tensor | None, identity: Identity | None = None, edit: PoseEdit | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures of a person in poses B x P; see `reenact.models.family.Model`.

        Args:
            pose: B x P.
            identity: embeddings, I, 1 x I or B x I; a personal model has its own.
            edit: none is possible.

        Raises:
            UserError: a meta-model without `identity`, other shapes, no pose, or an edit.
        """
        self.check_edit(pose is not None, edit or PoseEdit())
        assert pose is not None
        rgb, matte = self.generator(self._rows(identity, len(pose)), pose)
        return rgb.clamp(0, 1), matte

    def check_identity(self, identity: Identity | None, count: int) -> None:
        """See `reenact.models.family.Model`."""
        self._rows(identity, count)

    def check_edit(self, pose_given: bool, edit: PoseEdit) -> None:
        """See `reenact.models.family.Model`: nothing can be edited."""
        if not pose_given or not edit.does_nothing:
            raise UserError(
                "pose: a model of the constant family knows no parts of a face; controls, follow, gains, retarget and "
                "relative need one of the warping family (model.preset: warping)"
            )

    def traceable(self) -> nn.Module:
        """See `reenact.models.family.Model`."""
        return _Traceable(self)

    def _rows(self, given: Identity | None, count: int) -> Tensor:
        """The identity for `count` pictures: `given`, or the model's own."""
        identity = self.identity_embedding if given is None else given
        if identity is None:
            raise UserError(
                "a meta-model has no identity of its own; give identity=avatar.identity_embedding(frames).mean(0), "
                "with frames of the person"
            )
        size = self.architecture.identity_dim
        if not isinstance(identity, Tensor):
            raise UserError("identity: photos; a model of the constant family shows identity embeddings")
        rows = identity if identity.ndim == 2 else identity[None]
        if rows.ndim != 2 or rows.shape[1] != size or len(rows) not in (1, count):
            raise UserError(f"identity: shape {tuple(identity.shape)}; needed: 1 x {size}, or a row for each pose")
        return rows.to(next(self.parameters()).device, torch.float32).expand(count, -1)


class _Traceable(nn.Module):
    """Poses, and a meta-model's identity embeddings, -> pictures."""

    def __init__(self, net: Reenactor) -> None:
        super().__init__()
        self.generator, self.own = net.generator, net.identity_embedding

    def forward(self, pose: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """B x P, B x I -> as `Reenactor.show`."""
        if identity is None and self.own is not None:
            identity = self.own.expand(pose.shape[0], -1)
        rgb, matte = self.generator(identity, pose)
        return rgb.clamp(0, 1), matte


@torch.no_grad()
def embed_person(net: Reenactor, frames: Iterable[np.ndarray]) -> Tensor:
    """Whom a network shows: a personal one its own embedding, others the mean over frames of the person.

    Args:
        net: in evaluation mode.
        frames: uint8 H x H x 3, at least one; any H.

    Returns:
        1 x I, where the network is.
    """
    if net.identity_embedding is not None:
        return net.identity_embedding
    device = next(net.parameters()).device
    size = net.architecture.image_size
    embeddings = [net.embed(fit(to_tensor(chunk), size).to(device)) for chunk in batches(frames, EMBEDDED_AT_ONCE)]
    return torch.cat(embeddings).mean(0, keepdim=True)


def build_discriminator(architecture: Architecture, labels: int) -> Discriminator:
    """The discriminator that goes with `architecture`."""
    return Discriminator(
        labels, architecture.discriminator_channels, architecture.discriminator_blocks, architecture.identity_dim
    )
