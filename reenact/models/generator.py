"""Generator: a learned constant, shaped by [identity, pose] through adaptive instance norms (paper, section 3)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.models.instance_norm import instance_norm_relu
from reenact.models.spectral_norm import spectral_norm
from reenact.models.upsampling import enlarged_conv

CONV_EPS = 1e-4


def normed_conv(inputs: int, outputs: int, size: int, bias: bool = True) -> nn.Module:
    """A same-size convolution under spectral norm."""
    return spectral_norm(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias), eps=CONV_EPS)


class AdaIN(nn.Module):
    """Instance norm, a given bias and scale per channel (the scale is used as it is, not 1 + scale), ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, affine: Tensor) -> Tensor:
        """x: B x C x H x W; affine: B x 2C, biases first."""
        bias, scale = affine.chunk(2, 1)
        return instance_norm_relu(x, bias, scale, eps=1e-4)


class GeneratorBlock(nn.Module):
    """AdaIN, ReLU, [nearest x2], 3x3, AdaIN, ReLU, 3x3; plus a skip with a 1x1 where shapes differ."""

    def __init__(self, inputs: int, outputs: int, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = AdaIN(inputs)
        self.conv1 = normed_conv(inputs, outputs, 3, bias=False)
        self.norm2 = AdaIN(outputs)
        self.conv2 = normed_conv(outputs, outputs, 3, bias=False)
        self.skip = normed_conv(inputs, outputs, 1) if upsample or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, affine: Tensor) -> Tensor:
        """affine: B x (2 inputs + 2 outputs)."""
        first, second = affine.split([2 * self.norm1.channels, 2 * self.norm2.channels], 1)
        # The 1x1 of the skip goes before the upsampling: the same numbers for a quarter of the work.
        skip, x = self.skip(x), self.norm1(x, first)
        if self.upsample:
            skip = functional.interpolate(skip, scale_factor=2, mode="nearest")
        x = enlarged_conv(x, self.conv1.weight) if self.upsample else self.conv1(x)
        return skip + self.conv2(self.norm2(x, second))


class Generator(nn.Module):
    """[identity, pose] -> RGB and matte.

    Args:
        image_size: side of the output, px; a power of two, at least 8.
        identity_dim, pose_dim: lengths of the two inputs.
        channels: of the last block; each block before has twice as many, at most `max_channels`.
        max_channels: also the channels of the learned 4 x 4 constant, which starts at random. (Published: at one; an
            instance norm leaves nothing of that but what the padding adds.)
    """

    def __init__(self, image_size: int, identity_dim: int, pose_dim: int, channels: int, max_channels: int) -> None:
        super().__init__()
        count = (image_size // 4).bit_length() - 1
        widths = [min(max_channels, channels * 2 ** (count - 1 - i)) for i in range(count)]
        self.constant = nn.Parameter(torch.randn(1, max_channels, 4, 4))
        blocks = [GeneratorBlock(max_channels, max_channels, upsample=False) for _ in range(2)]
        for inputs, outputs in pairwise([max_channels, *widths]):
            blocks.append(GeneratorBlock(inputs, outputs, upsample=True))
        self.blocks = nn.ModuleList(blocks)
        self.tail_norm = AdaIN(widths[-1])
        self.tail_conv = normed_conv(widths[-1], 4, 3)
        self._sizes = [2 * (b.norm1.channels + b.norm2.channels) for b in blocks] + [2 * widths[-1]]
        hidden = identity_dim + pose_dim
        self.projector = nn.Sequential(
            spectral_norm(nn.Linear(hidden, hidden)), nn.ReLU(), spectral_norm(nn.Linear(hidden, sum(self._sizes)))
        )
        self._start_with_unit_scales()

    def _start_with_unit_scales(self) -> None:
        """Without this every scale starts near zero and the first hundreds of steps go into finding it."""
        layers = [n for b in self.blocks for n in (b.norm1, b.norm2)] + [self.tail_norm]
        unit = torch.cat([torch.cat([torch.zeros(n.channels), torch.ones(n.channels)]) for n in layers])
        with torch.no_grad():
            self.projector[2].bias.copy_(unit)

    def forward(self, identity: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """identity: B x I, pose: B x P -> RGB B x 3 x H x W, already multiplied by the matte, and matte B x 1 x H x W.

        The matte is in [0, 1]. RGB's raw range is [-0.25, 1.25] as published, so that a true black or white needs no
        saturated tanh; it is clamped only where it leaves the model (`Avatar.render`).
        """
        with torch.autocast(pose.device.type, enabled=False):  # in bfloat16 every channel would be off by up to 0.4 %
            given = torch.cat([identity, pose], 1).to(self.constant.dtype)
            *affines, tail = self.projector(given).split(self._sizes, 1)
        x = self.constant.expand(pose.shape[0], -1, -1, -1)
        for block, affine in zip(self.blocks, affines, strict=True):
            x = block(x, affine)
        x = torch.tanh(self.tail_conv(self.tail_norm(x, tail)))
        matte = 0.5 * x[:, 3:] + 0.5
        return (0.75 * x[:, :3] + 0.5) * matte, matte
