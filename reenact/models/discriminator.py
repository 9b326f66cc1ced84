"""Projection discriminator (Miyato & Koyama, ICLR 2018) as in the published code."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.models.differences import mean_difference
from reenact.models.generator import CONV_EPS, normed_conv
from reenact.models.spectral_norm import spectral_norm


class DiscriminatorBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, [average pool]; plus a 1x1 skip.

    The authors' first ReLU works in place, so their skip and the feature map handed out see rectified values.
    Checkpoints are trained that way: `forward` therefore expects an already rectified input.
    """

    def __init__(self, inputs: int, outputs: int, downsample: bool) -> None:
        super().__init__()
        self.downsample = downsample
        self.conv1 = normed_conv(inputs, outputs, 3)
        self.conv2 = normed_conv(outputs, outputs, 3)
        self.skip = normed_conv(inputs, outputs, 1) if downsample or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H x W, or half of both sides where it downsamples."""
        main = self.conv2(functional.relu(self.conv1(x), inplace=True))
        if self.downsample:  # the skip's 1x1 goes behind the pooling: the same numbers for a quarter of the work
            main, x = functional.avg_pool2d(main, 2), functional.avg_pool2d(x, 2)
        return main + self.skip(x)


class Discriminator(nn.Module):
    """Real or generated, and of which label.

    Args:
        labels: rows of the label embedding: clips in meta-learning, 1 in fine-tuning.
        channels: of the stem; doubled by each block, at most `features`.
        blocks: downsampling blocks after the stem.
        features: channels at the end = length of a row of the label embedding = of an identity embedding.
    """

    def __init__(self, labels: int, channels: int, blocks: int, features: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            normed_conv(3, channels, 3), nn.ReLU(inplace=True), normed_conv(channels, channels, 3)
        )
        self.stem_skip = normed_conv(3, channels, 1)
        widths = [min(features, channels * 2 ** (i + 1)) for i in range(blocks - 1)] + [features]
        downs = [DiscriminatorBlock(i, o, downsample=True) for i, o in pairwise([channels, *widths])]
        self.blocks = nn.ModuleList([*downs, DiscriminatorBlock(features, features, downsample=False)])
        self.linear = spectral_norm(nn.Linear(features, 1), eps=CONV_EPS)
        # In fine-tuning the authors replace the embedding by one row, under a norm of torch's default eps.
        self.labels = spectral_norm(nn.Embedding(labels, features), eps=CONV_EPS if labels > 1 else 1e-12)

    def label_rows(self, label: Tensor) -> Tensor:
        """Spectrally normalised rows of the label embedding: B -> B x features."""
        return functional.embedding(label, self.labels.weight)

    def forward(self, image: Tensor, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """image B x 3 x H x W, label rows B x features -> score B, feature maps (stem and every block)."""
        x = functional.avg_pool2d(self.stem(image), 2) + self.stem_skip(functional.avg_pool2d(image, 2))
        maps = []
        for block in self.blocks:
            x = functional.relu(x, inplace=True)
            maps.append(x)
            x = block(x)
        maps.append(x)
        h = functional.relu(x).sum((2, 3))
        return self.linear(h)[:, 0] + (h * rows).sum(1), maps


def feature_distance(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean over feature maps of their mean absolute difference; no gradient reaches `real`."""
    return torch.stack([mean_difference(a, b) for a, b in zip(fake, real, strict=True)]).mean()
