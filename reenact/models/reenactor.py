"""The networks of one model together: what drives (`Reenactor`), and the discriminator that goes with it."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from reenact.data.images import to_tensor
from reenact.models.architecture import Architecture
from reenact.models.discriminator import Discriminator
from reenact.models.generator import Generator
from reenact.models.mobilenet import MobileNetV2
from reenact.models.resnext import ResNeXt
from reenact.runtime.parallel import batches

EMBEDDED_AT_ONCE = 8
"""Frames; memory grows with it."""


class Reenactor(nn.Module):
    """Encoders and generator. A personal one has an identity embedding of its own in place of the encoder's.

    Args:
        architecture: sizes.
        personal: whether it has `identity_embedding`, 1 x identity_dim.
    """

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


@torch.no_grad()
def embed_person(net: Reenactor, frames: Iterable[np.ndarray]) -> Tensor:
    """Whom a network shows: a personal one its own embedding, others the mean over frames of the person.

    Args:
        net: in evaluation mode.
        frames: uint8 S x S x 3, at least one.

    Returns:
        1 x I, where the network is.
    """
    if net.identity_embedding is not None:
        return net.identity_embedding
    device = next(net.parameters()).device
    embeddings = [net.embed(to_tensor(chunk).to(device)) for chunk in batches(frames, EMBEDDED_AT_ONCE)]
    return torch.cat(embeddings).mean(0, keepdim=True)


def build_discriminator(architecture: Architecture, labels: int) -> Discriminator:
    """The discriminator that goes with `architecture`."""
    return Discriminator(
        labels, architecture.discriminator_channels, architecture.discriminator_blocks, architecture.identity_dim
    )
