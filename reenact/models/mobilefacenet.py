"""MobileFaceNet (Chen et al., *MobileFaceNets*, CCBR 2018), a face recognition network: a loss where its weights are at hand.

Names in the state dict are those of the public PyTorch implementation whose checkpoints `load_mobilefacenet` reads.
"""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.runtime.errors import UserError

# Expansion, channels, repeats, first stride of each group of blocks (table 1 of the paper).
GROUPS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
SIZE = (112, 96)
"""Height and width of its input, px: a face aligned as in SphereFace."""

WINDOW = (0.248, 0.151, 0.756, 0.743)
"""Where such a face lies in a crop of scale 1.8: left, top, right, bottom, shares of the side. Eyes, nose and mouth corners of the
mean face of 91 clips so come to where SphereFace's alignment puts them, to 1 px."""


class Unit(nn.Module):
    """Convolution without bias, batch norm, and PReLU unless `linear`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int],
        stride: int,
        padding: int,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """1x1 expand, depthwise 3x3, linear 1x1 project; added to the input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileFaceNet(nn.Module):
    """Frozen; crops of scale 1.8 -> feature maps and descriptor of the face in their middle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Unit(3, 64, 3, 2, 1)
        self.dw_conv1 = Unit(64, 64, 3, 1, 1, groups=64)
        blocks, channels = [], 64
        for expansion, outputs, repeats, first_stride in GROUPS:
            for index in range(repeats):
                blocks.append(Bottleneck(channels, outputs, first_stride if index == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.conv2 = Unit(128, 512, 1, 1, 0)
        self.linear7 = Unit(512, 512, (7, 6), 1, 0, groups=512, linear=True)
        self.linear1 = Unit(512, 128, 1, 1, 0, linear=True)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "MobileFaceNet":
        """Frozen networks stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """B x 3 x S x S in [0, 1] -> maps after the stem and each group of blocks, and descriptors B x 128 of unit length."""
        left, top, right, bottom = (2 * share - 1 for share in WINDOW)
        window = x.new_tensor(
            [[(right - left) / 2, 0, (right + left) / 2], [0, (bottom - top) / 2, (bottom + top) / 2]]
        )
        grid = functional.affine_grid(window.expand(len(x), 2, 3), [len(x), 3, *SIZE], align_corners=False)
        x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
        x = self.dw_conv1(self.conv1((x * 255 - 127.5) / 128))
        maps, ends = [x], [sum(repeats for _, _, repeats, _ in GROUPS[: i + 1]) - 1 for i in range(len(GROUPS))]
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in ends:
                maps.append(x)
        return maps, functional.normalize(self.linear1(self.linear7(self.conv2(x))).flatten(1).float())


def load_mobilefacenet(path: Path) -> MobileFaceNet:
    """Read a checkpoint (.ckpt with the key `net_state_dict`).

    Raises:
        UserError: missing, damaged, or of another network.
    """
    network = MobileFaceNet()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["net_state_dict"])
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"face_recognition_weights: {str(path)!r} is not a MobileFaceNet checkpoint ({str(error).splitlines()[0]})"
        ) from None
    return network


def recognition_loss(network: MobileFaceNet, output: Tensor, target: Tensor) -> Tensor:
    """Mean over maps of their mean absolute difference, relative to the target's mean size, plus 1 - cosine of the descriptors."""
    with torch.no_grad():
        wanted, face = network(target)
    maps, found = network(output)
    distances = [functional.l1_loss(a.float(), b.float()) / b.float().abs().mean() for a, b in zip(maps, wanted)]
    return torch.stack(distances).mean() + 1 - (found * face).sum(1).mean()
