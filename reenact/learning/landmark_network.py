"""A small network that sees landmarks: what the pose warm-up learned, frozen, as a differentiable loss."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.learning.data import EYES_AND_MOUTH
from reenact.networks.mobilenet import MobileNetV2

POINTS = 68


class LandmarkNetwork(nn.Module):
    """A pose encoder and a linear readout of its descriptor: B x 3 x H x W in [0, 1] -> B x 68 x 2, shares of the side less 0.5."""

    def __init__(self, encoder: MobileNetV2) -> None:
        super().__init__()
        self.encoder = encoder
        self.readout = nn.Linear(encoder.classifier[1].out_features, 2 * POINTS)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.encoder(x)).view(-1, POINTS, 2)

    def frozen(self) -> "LandmarkNetwork":
        """A copy that stays as it is, in evaluation mode."""
        return copy.deepcopy(self).eval().requires_grad_(False)


def landmark_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of landmarks B x 68 x 2, plus that of each eye and the mouth about its own middle.

    The first is mostly the place and turn of the head; the second is what opens and closes.
    """
    inner = [
        functional.l1_loss(*(points[:, part] - points[:, part].mean(1, keepdim=True) for points in (found, wanted)))
        for part in map(list, EYES_AND_MOUTH)
    ]
    return functional.l1_loss(found, wanted) + torch.stack(inner).sum()
