"""Identity encoder: ResNeXt (Xie et al., CVPR 2017). State-dict names are torchvision's."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    """1x1 reduce, grouped 3x3, 1x1 expand, each with batch norm; added to the (projected) input."""

    def __init__(self, inputs: int, planes: int, groups: int, stride: int) -> None:
        super().__init__()
        width, outputs = 2 * planes, 4 * planes
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H/stride x W/stride."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        return functional.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


class ResNeXt(nn.Module):
    """B x 3 x H x W, RGB in [0, 1] (not normalised by mean and std) -> B x outputs.

    Args:
        outputs: length of the embedding.
        layers: blocks in each of the four groups; (3, 4, 6, 3) with width 64 and 32 groups is ResNeXt-50 32x4d.
        width: channels of the stem; the groups put out 4, 8, 16 and 32 times as many.
        groups: groups of the 3x3 convolutions.
    """

    def __init__(
        self, outputs: int, layers: tuple[int, int, int, int] = (3, 4, 6, 3), width: int = 64, groups: int = 32
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for number, (count, stride) in enumerate(zip(layers, (1, 2, 2, 2), strict=True)):
            planes = width * 2**number
            blocks = []
            for index in range(count):
                blocks.append(Bottleneck(channels, planes, groups, stride if index == 0 else 1))
                channels = 4 * planes
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """B x 3 x H x W in [0, 1] -> B x outputs."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
