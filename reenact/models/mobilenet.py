"""Pose encoder: MobileNetV2 (Sandler et al., CVPR 2018). State-dict names are torchvision's."""

from torch import Tensor, nn

# Expansion, channels, repeats, first stride of each group of blocks (table 2 of the paper).
GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class ConvBnRelu(nn.Sequential):
    """Convolution without bias, batch norm, ReLU6."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """1x1 expand, depthwise 3x3, linear 1x1 project; added to the input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [ConvBnRelu(inputs, hidden, size=1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvBnRelu(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H/stride x W/stride."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """B x 3 x H x W, RGB in [0, 1] -> B x outputs.

    Args:
        outputs: length of the pose descriptor: few, so that identity does not fit through.
        width: multiplier of all channels but the last.
        dropout: before the last layer, in training mode.
    """

    def __init__(self, outputs: int, width: float = 1.0, dropout: float = 0.2) -> None:
        super().__init__()
        channels = _eighth(32 * width)
        features: list[nn.Module] = [ConvBnRelu(3, channels, stride=2)]
        for expansion, base, repeats, first_stride in GROUPS:
            for index in range(repeats):
                following = _eighth(base * width)
                features.append(InvertedResidual(channels, following, first_stride if index == 0 else 1, expansion))
                channels = following
        last = _eighth(1280 * max(1.0, width))
        features.append(ConvBnRelu(channels, last, size=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, outputs))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """B x 3 x H x W in [0, 1] -> B x outputs."""
        return self.classifier(self.features(x).mean((2, 3)))


def _eighth(channels: float) -> int:
    """The nearest multiple of 8, never more than 10 % below: the rounding of the published networks."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
