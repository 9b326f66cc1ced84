"""What the pose encoder is pretrained with: a small network that sees landmarks, and a distance of landmarks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.faces.landmarks import EYES_AND_MOUTH
from reenact.models.mobilenet import MobileNetV2

POINTS = 68
GAPS = ((67, 61), (66, 62), (65, 63), (41, 37), (40, 38), (47, 43), (46, 44))
"""Lower and upper points of lips and lids."""
BROWS = ((36, 39, 42, 45), (18, 20, 23, 25))
"""Corners of the eyes, and points of the brows above them."""
OPENING_WEIGHTS = (2.0, 6.0, 6.0, 0.75, 0.375, 0.375, 0.375, 0.375)
"""Of `openings`."""


class LandmarkNetwork(nn.Module):
    """A pose encoder and a linear readout of its descriptor.

    B x 3 x H x W in [0, 1] -> B x 68 x 2, as fractions of the side, less 0.5.
    """

    def __init__(self, encoder: MobileNetV2) -> None:
        super().__init__()
        self.encoder = encoder
        self.readout = nn.Linear(encoder.classifier[1].out_features, 2 * POINTS)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.readout(self.encoder(x)).view(-1, POINTS, 2)


def openings(points: Tensor) -> Tensor:
    """What a face does, from landmarks B x 68 x 2.

    Returns:
        B x 8: gap of the lips, of each eye, width of the mouth, height of both ends of each brow.
    """
    low, high = (points[:, list(pairs), 1] for pairs in zip(*GAPS, strict=True))
    gaps = [(low - high)[:, part].mean(1) for part in (slice(0, 3), slice(3, 5), slice(5, 7))]
    width = points[:, 54, 0] - points[:, 48, 0]
    return torch.cat([torch.stack([*gaps, width], 1), points[:, list(BROWS[0]), 1] - points[:, list(BROWS[1]), 1]], 1)


def landmark_distance(found: Tensor, wanted: Tensor, emphasis: float = 1.0) -> Tensor:
    """Mean absolute difference of landmarks B x 68 x 2, that of each eye and the mouth about its own middle, and
    `emphasis` times that of `openings`.

    The first is mostly the place and turn of the head; the others are what opens and closes. A lid moves by a hundredth
    of the side, and is not learned without a weight of its own.
    """
    inner = [
        functional.l1_loss(*(points[:, part] - points[:, part].mean(1, keepdim=True) for points in (found, wanted)))
        for part in map(list, EYES_AND_MOUTH)
    ]
    opened = (openings(found) - openings(wanted)).abs() @ torch.tensor(OPENING_WEIGHTS, device=found.device)
    return functional.l1_loss(found, wanted) + torch.stack(inner).sum() + emphasis * opened.mean()
