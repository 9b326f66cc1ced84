"""Perceptual network: VGG-19 up to relu5_1 with average pooling (Johnson et al., ECCV 2016; section 3 of the paper).

The embedded default has fixed random weights: depth and structure alone already give a useful loss
(Liu et al., *A Generic Perceptual Loss for Modeling Structured Output Dependencies*, CVPR 2021), and no
pretrained weights can be counted on without internet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Output channels of the convolutions up to conv5_1; 0 is a 2 x 2 pooling.
LAYOUT = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)


class PerceptualNetwork(nn.Module):
    """Frozen VGG-19 with random weights that depend on `seed` alone.

    Args:
        width: multiplier of all channels.
        seed: of the weights.
    """

    def __init__(self, width: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        convs, channels = [], 3
        for outputs in LAYOUT:
            if not outputs:
                continue
            conv = nn.Conv2d(channels, max(1, round(outputs * width)), 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=random)
            nn.init.zeros_(conv.bias)
            convs.append(conv)
            channels = conv.out_channels
        self.convs = nn.ModuleList(convs)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """B x 3 x H x W in [0, 1], H and W at least 16 -> the 13 rectified maps relu1_1 to relu5_1."""
        x, maps = (x - 0.5) / 0.25, []
        convs = iter(self.convs)
        for outputs in LAYOUT:
            if not outputs:
                x = functional.avg_pool2d(x, 2)
                continue
            x = functional.relu(next(convs)(x))
            maps.append(x)
        return maps


def perceptual_loss(network: PerceptualNetwork, output: Tensor, target: Tensor) -> Tensor:
    """Sum over the 13 maps of their mean absolute difference; no gradient reaches `target`."""
    with torch.no_grad():
        wanted = network(target)
    return torch.stack([functional.l1_loss(a, b) for a, b in zip(network(output), wanted)]).sum()


def perceptual_distance(network: PerceptualNetwork, first: Tensor, second: Tensor) -> Tensor:
    """LPIPS's formula (Zhang et al., CVPR 2018) without its learned weights: B x 3 x H x W twice -> B.

    Mean over maps and places of the squared difference of unit-length feature vectors; 0 (equal) to 4.
    """
    distances = []
    with torch.no_grad():
        for a, b in zip(network(first), network(second)):
            difference = functional.normalize(a, dim=1) - functional.normalize(b, dim=1)
            distances.append(difference.square().sum(1).mean((1, 2)))
    return torch.stack(distances).mean(0)
