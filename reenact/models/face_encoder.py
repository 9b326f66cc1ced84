"""Pose encoder of the warping family: what a face does and where the head is, out of a crop of 256 px.

Its trunk is the mesh network of mediapipe's face landmarker (`face_encoder_weights`), trained on: it sees lids and lips
at 256 px, and ends in 2 x 2 places of 128 features each, where a mean over the picture would forget where things are.
It has no batch norm: a descriptor depends on its own frame alone, in training too.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.data.images import fit, to_tensor
from reenact.runtime.parallel import batches

SIZE = 256
"""Side of the crops that it sees, px."""
# Channels, channels of the bottleneck, and blocks of each stage; all but the first halve the picture.
STAGES = ((16, 8, 4), (32, 16, 5), (64, 32, 5), (128, 64, 5), (128, 64, 5), (128, 64, 5), (128, 64, 5))
FEATURES = 512
HIDDEN = 256
# The trunk has learned from squares of 1.5 face boxes, and crops are squares of 1.8: it sees the middle, enlarged.
_MARGIN = 20


class Residual(nn.Module):
    """Squeeze, depthwise 3x3, expand, added to the input; where `stride` is 2, squeezing and a max pool halve it."""

    def __init__(self, inputs: int, outputs: int, squeezed: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, outputs - inputs
        self.squeeze = nn.Conv2d(inputs, squeezed, stride, stride)
        self.relu = nn.PReLU(squeezed)
        self.depthwise = nn.Conv2d(squeezed, squeezed, 3, padding=1, groups=squeezed)
        self.expand = nn.Conv2d(squeezed, outputs, 1)
        self.last_relu = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H/stride x W/stride."""
        change = self.expand(self.depthwise(self.relu(self.squeeze(x))))
        if self.stride > 1:
            x = functional.max_pool2d(x, self.stride)
        if self.added:
            x = functional.pad(x, (0, 0, 0, 0, 0, self.added))
        return self.last_relu(x + change)


class FaceEncoder(nn.Module):
    """B x 3 x 256 x 256, RGB in [0, 1] -> B x outputs.

    Args:
        outputs: length of the pose descriptor.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        channels = STAGES[0][0]
        trunk: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, channels, 3, 2), nn.PReLU(channels)]
        for stage, (wider, squeezed, blocks) in enumerate(STAGES):
            for block in range(blocks):
                trunk.append(Residual(channels, wider, squeezed, 2 if stage and not block else 1))
                channels = wider
        self.trunk = nn.Sequential(*trunk, nn.Flatten())
        self.head = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.PReLU(HIDDEN), nn.Linear(HIDDEN, outputs))

    def features(self, x: Tensor) -> Tensor:
        """B x 3 x 256 x 256 -> B x FEATURES."""
        middle = x[:, :, _MARGIN : SIZE - _MARGIN, _MARGIN : SIZE - _MARGIN]
        return self.trunk(functional.interpolate(middle, size=(SIZE, SIZE), mode="bilinear", align_corners=False))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.head(self.features(x))

    @torch.no_grad()
    def normalise_features(self, features: Tensor) -> None:
        """Let the head begin with features of mean 0 and standard deviation 1: N x FEATURES, of many frames."""
        first = self.head[0]
        assert isinstance(first, nn.Linear)
        first.weight.div_(features.std(0) + 0.05)
        first.bias.sub_(first.weight @ features.mean(0))


@torch.no_grad()
def describe(encoder: FaceEncoder, frames: Sequence[np.ndarray]) -> np.ndarray:
    """Descriptors of frames, uint8 S x S x 3 each, which it sees at SIZE -> N x outputs."""
    device = next(encoder.parameters()).device
    parts = [encoder(fit(to_tensor(batch).to(device), SIZE)).cpu() for batch in batches(frames, 16)]
    return torch.cat(parts).numpy() if parts else np.zeros((0, encoder.outputs), np.float32)
