"""The perceptual distance of scores: LPIPS, or its formula on random features, which need no weights."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reenact.data.images import to_tensor
from reenact.evaluation.metrics import matte_boxes, mean
from reenact.models.vgg import PerceptualNetwork, perceptual_distance
from reenact.runtime.errors import UserError
from reenact.settings.score import ScoreSettings

RANDOM_SEED = 1
"""Not the training loss's seed 0: an avatar is not judged by the very features that it was trained on."""

LPIPS_SIDE = 64
"""Boxes smaller than this are enlarged to it for LPIPS, px: AlexNet's first layers shrink a picture 32-fold."""


class PerceptualDistance(Protocol):
    """A distance of two pictures in the features of a network."""

    name: str
    """For tables: network and weights."""

    def distance(self, first: Tensor, second: Tensor) -> float:
        """1 x 3 x H x W twice, float RGB in [0, 1] -> 0 for equal pictures, no unit."""
        ...


class RandomVgg:
    """LPIPS's formula on the features of a VGG-19 with fixed random weights; not comparable with LPIPS."""

    def __init__(self, width: float) -> None:
        self._network = PerceptualNetwork(width, RANDOM_SEED)
        self.name = f"VGG-19, random weights, width {width:g}"

    def distance(self, first: Tensor, second: Tensor) -> float:
        """See `PerceptualDistance.distance`."""
        return float(perceptual_distance(self._network, first, second))


class Lpips:
    """LPIPS v0.1 with AlexNet (Zhang et al., CVPR 2018), by the package lpips.

    Args:
        weights: AlexNet's ImageNet weights as torchvision publishes them; None = torchvision downloads them.
    """

    def __init__(self, weights: Path | None) -> None:
        try:
            import lpips
        except ImportError as error:
            raise UserError(
                f"score.perceptual: lpips needs the packages lpips and torchvision ({error}); "
                "install them, or set random"
            ) from None
        if weights and not weights.is_file():
            raise UserError(
                f"score.perceptual_weights: {weights} does not exist; give torchvision's alexnet-owt-7be5be79.pth"
            )
        # eval_mode and verbose are the package's own; its linear weights come with it.
        self._network = lpips.LPIPS(net="alex", pnet_rand=weights is not None, verbose=False).requires_grad_(False)
        if weights:
            self._load_backbone(weights)
        self.name = "LPIPS v0.1, AlexNet"

    def _load_backbone(self, weights: Path) -> None:
        """Put ImageNet's weights into the package's AlexNet, which numbers its layers as torchvision does."""
        saved = torch.load(weights, map_location="cpu", weights_only=True)
        wanted = self._network.net.state_dict()
        found = {key: saved.get("features." + key.split(".", 1)[1]) for key in wanted}
        if any(value is None or value.shape != wanted[key].shape for key, value in found.items()):
            raise UserError(
                f"score.perceptual_weights: {weights} is not AlexNet as torchvision publishes it "
                "(alexnet-owt-7be5be79.pth)"
            )
        self._network.net.load_state_dict(found)

    @torch.no_grad()
    def distance(self, first: Tensor, second: Tensor) -> float:
        """See `PerceptualDistance.distance`."""
        factor = LPIPS_SIDE / min(first.shape[-2:])
        if factor > 1:
            first, second = (
                functional.interpolate(x, scale_factor=factor, mode="bicubic").clamp(0, 1) for x in (first, second)
            )
        return float(self._network(first, second, normalize=True))


def load_perceptual(settings: ScoreSettings) -> PerceptualDistance:
    """The distance that the settings name; see `Lpips` for errors."""
    if settings.perceptual == "lpips":
        return Lpips(Path(settings.perceptual_weights) if settings.perceptual_weights else None)
    return RandomVgg(settings.perceptual_width)


def perceptual_error(network: PerceptualDistance, output: np.ndarray, truth: np.ndarray, mattes: np.ndarray) -> float:
    """Mean over frames of the distance within the box of the true matte.

    Args:
        network: the distance.
        output, truth: uint8 N x S x S x 3.
        mattes: true mattes, float N x S x S in [0, 1].
    """
    values = []
    for ours, true, (rows, columns) in zip(output, truth, matte_boxes(mattes), strict=True):
        pair = [to_tensor(image[None, rows, columns]) for image in (ours, true)]
        # Of the real frames, a baseline, each is its own truth: no network is needed to say so.
        values.append(0.0 if torch.equal(*pair) else network.distance(*pair))
    return mean(np.array(values, dtype=np.float64))
