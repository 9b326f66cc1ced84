"""Perceptual networks: VGG up to the 13th convolution, average pooling (Johnson et al., ECCV 2016; paper, section 3).

The embedded default has fixed random weights: depth and structure alone already give a useful loss
(Liu et al., *A Generic Perceptual Loss for Modeling Structured Output Dependencies*, CVPR 2021), and no
pretrained weights can be counted on without internet. `vgg_weights` opens files of real ones.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from reenact.models.differences import mean_difference

# Output channels of the convolutions up to the 13th (relu5_1 of VGG-19, relu5_3 of VGG-16); 0 is a 2 x 2 pooling.
LAYOUTS = {
    "vgg19": (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512),
    "vgg16": (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512),
}


@dataclass(frozen=True)
class InputScale:
    """What is done to images in [0, 1] before the first convolution: (x - mean) / std, in RGB or BGR order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False


def _bytes(mean: tuple[float, float, float]) -> InputScale:
    """Caffe's convention: BGR of 0 to 255, less the training set's mean."""
    blue, green, red = (m / 255 for m in mean)
    return InputScale((blue, green, red), (1 / 255, 1 / 255, 1 / 255), bgr=True)


RANDOM = InputScale((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
TORCHVISION = InputScale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE_MEAN = (103.939, 116.779, 123.680)
CAFFE = _bytes(CAFFE_MEAN)
VGGFACE = _bytes((93.5940, 104.7624, 129.1863))
# The authors feed ((x + 1) / 2 - mean) * 255 although x is in [0, 1], and Caffe's BGR means to RGB images:
# half of the contrast, none of it below 127.5. Here in the form (x - mean) / std.
_FIRST, _SECOND, _THIRD = (2 * m / 255 - 1 for m in CAFFE_MEAN)
PUBLISHED = InputScale((_FIRST, _SECOND, _THIRD), (2 / 255, 2 / 255, 2 / 255))


class PerceptualNetwork(nn.Module):
    """Frozen VGG with random weights that depend on `seed` alone; real ones are loaded into `convs`.

    Args:
        width: multiplier of all channels.
        seed: of the weights.
        layout: vgg19 or vgg16.
        scale: of the input.
    """

    def __init__(self, width: float = 1.0, seed: int = 0, layout: str = "vgg19", scale: InputScale = RANDOM) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.layout, self.scale = LAYOUTS[layout], scale
        convs, channels = [], 3
        for outputs in self.layout:
            if not outputs:
                continue
            conv = nn.Conv2d(channels, max(1, round(outputs * width)), 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=random)
            nn.init.zeros_(conv.bias)
            convs.append(conv)
            channels = conv.out_channels
        self.convs = nn.ModuleList(convs)
        self.register_buffer("mean", torch.tensor(scale.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(scale.std)[:, None, None])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """B x 3 x H x W in [0, 1], H and W at least 16 -> the 13 rectified maps."""
        x = ((x.flip(1) if self.scale.bgr else x) - self.mean) / self.std
        maps, convs = [], iter(self.convs)
        for outputs in self.layout:
            if not outputs:
                x = functional.avg_pool2d(x, 2)
                continue
            x = functional.relu(next(convs)(x), inplace=True)
            maps.append(x)
        return maps


def perceptual_loss(network: PerceptualNetwork, output: Tensor, target: Tensor) -> Tensor:
    """Sum over the 13 maps of their mean absolute difference; no gradient reaches `target`.

    The gradient is found at once, so that the maps do not wait in memory for the backward pass.
    """
    if torch.is_grad_enabled() and output.requires_grad:
        return _AtOnce.apply(output, network, target)
    return _map_difference(network, output, target)


def _map_difference(network: PerceptualNetwork, output: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        wanted = network(target)
    return torch.stack([mean_difference(a, b) for a, b in zip(network(output), wanted, strict=True)]).sum()


class _AtOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, network: PerceptualNetwork, target: Tensor) -> Tensor:
        """See `perceptual_loss`."""
        with torch.enable_grad():
            leaf = output.detach().requires_grad_(True)
            loss = _map_difference(network, leaf, target)
        # As in a backward pass of its own: operations are not counted there (`reenact.runtime.utilization`).
        with _disable_current_modes(), torch.autocast(output.device.type, enabled=False):
            (gradient,) = torch.autograd.grad(loss, leaf)
        ctx.save_for_backward(gradient)
        return loss.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Of the output."""
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None


def perceptual_distance(network: PerceptualNetwork, first: Tensor, second: Tensor) -> Tensor:
    """LPIPS's formula (Zhang et al., CVPR 2018) without its learned weights: B x 3 x H x W twice -> B.

    Mean over maps and positions of the squared difference of unit-length feature vectors; 0 (equal) to 4.
    """
    distances = []
    with torch.no_grad():
        for a, b in zip(network(first), network(second), strict=True):
            difference = functional.normalize(a, dim=1) - functional.normalize(b, dim=1)
            distances.append(difference.square().sum(1).mean((1, 2)))
    return torch.stack(distances).mean(0)
