"""The networks of one model together: what drives (`Reenactor`), and the discriminator that goes with it."""

import torch
from torch import Tensor, nn

from reenact.models.architecture import Architecture
from reenact.models.discriminator import Discriminator
from reenact.models.generator import Generator
from reenact.models.mobilenet import MobileNetV2
from reenact.models.resnext import ResNeXt


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

    def identity(self, frames: Tensor) -> Tensor:
        """B x K x 3 x H x W, K frames of each person -> B x I, the mean of their embeddings."""
        batch, count = frames.shape[:2]
        return self.identity_encoder(frames.flatten(0, 1)).view(batch, count, -1).mean(1)


def build_discriminator(architecture: Architecture, labels: int) -> Discriminator:
    """The discriminator that goes with `architecture`."""
    return Discriminator(
        labels, architecture.discriminator_channels, architecture.discriminator_blocks, architecture.identity_dim
    )
