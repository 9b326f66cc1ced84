"""dlib's ResNet-29 for face recognition in torch, with the weights of dlib's own file.

The network is that of dlib's example dnn_face_recognition_ex (Davis King), after He et al., *Deep Residual Learning for
Image Recognition*, CVPR 2016, with half of the filters. Its descriptors are dlib's but for rounding.

Such a file names each layer, from the input to the output, and says what it has learned: a tensor is its version, its
four sides (numbers, channels, rows, columns) and its values, float32. A whole number is a byte that says how many bytes
follow, and these, the lowest first. What else a layer says (learning rates, empty gradients) is skipped.
"""

import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.runtime.errors import UserError

DIMENSIONS = 128
"""Numbers that it describes a face by."""

MEAN = (122.782, 117.001, 104.298)
"""Of red, green and blue over pictures, 0 to 255, as dlib has it. Values less this are divided by 256."""

STAGES = ((32, 32, 32), (64, 64, 64, 64), (128, 128, 128), (256, 256, 256), (256,))
"""Filters of the residual blocks. The first block of all stages but the first halves height and width."""

TENSOR_VERSION = 2

GAP = 400
"""Most bytes between the weights of two layers: in the file up to 352, and with another layer between them more."""

EMPTY = bytes([1, TENSOR_VERSION, 1, 0, 1, 0, 1, 0, 1, 0])
"""A tensor without values. The file ends with one."""


class WeightsFile:
    """What the layers in a file of dlib's have learned, one after the other.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._bytes, self._position = path, path.read_bytes(), 0

    def take(self, layer: str, *shape: int) -> Tensor:
        """The weights of the next layer.

        Args:
            layer: its kind, as the file names it.
            shape: of its tensor: numbers and channels.

        Raises:
            UserError: another layer comes, or the file ends before, or not all weights are finite.
        """
        sides = b"".join(_whole(side) for side in (TENSOR_VERSION, *shape, 1, 1, 1)[:5])
        # fc_2 says its sizes before it says its weights, the others afterwards.
        start = re.compile(layer.encode() + b".{0,5}?" + re.escape(sides), re.DOTALL)
        found = start.search(self._bytes, self._position, self._position + GAP)
        count = math.prod(shape)
        if not found or found.end() + 4 * count > len(self._bytes):
            raise self.error(f"no layer {layer} of {' x '.join(map(str, shape))} where one is expected")
        self._position = found.end() + 4 * count
        values = np.frombuffer(self._bytes, "<f4", count, found.end()).astype(np.float32)
        if not np.isfinite(values).all():
            raise self.error(f"a layer {layer} has weights that are not finite")
        return torch.from_numpy(values).view(shape)

    def finish(self) -> None:
        """Make sure that no layer is left and that nothing was cut off; see `take` for the error."""
        rest = self._bytes[self._position :]
        if len(rest) > GAP or not rest.endswith(EMPTY):
            raise self.error("it does not end behind the last layer")

    def error(self, reason: str) -> UserError:
        """That it is no such file."""
        return UserError(f"score.descriptor_weights: {self._path} is not dlib's face recognition network ({reason})")


class Convolution(nn.Module):
    """A convolution with the affine layer behind it, which goes into its weights.

    Args:
        file: whose next layers they are.
        inputs, outputs: channels.
        side: of the filters.
        stride: of the convolution. dlib pads where it is 1, and nowhere else.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, file: WeightsFile, inputs: int, outputs: int, side: int = 3, stride: int = 1) -> None:
        # No nn.Conv2d, which would first draw weights from torch's random numbers, in the middle of a training too.
        super().__init__()
        filters = inputs * side**2
        learned = file.take("con_4", outputs * (filters + 1))
        factor, shift = file.take("affine_", 2 * outputs).chunk(2)
        weight = learned[: outputs * filters].view(outputs, inputs, side, side) * factor[:, None, None, None]
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", learned[outputs * filters :] * factor + shift)
        self._stride, self._padding = stride, side // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H' x W'; H' = H where the stride is 1, else (H - side) // stride + 1."""
        return functional.conv2d(x, self.weight, self.bias, self._stride, self._padding)


class Block(nn.Module):
    """Two convolutions, and what they change; see `Convolution` for arguments."""

    def __init__(self, file: WeightsFile, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(file, inputs, outputs, 3, stride), Convolution(file, outputs, outputs)
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H // stride x W // stride, at least 0."""
        change = self.second(functional.relu(self.first(x), inplace=True))
        if self._stride > 1:
            x = functional.avg_pool2d(x, self._stride)
        # dlib adds maps of different size from their first channel, row and column on, as if zeros filled the smaller.
        # The pooled map is larger where an even side was halved without padding, and has fewer channels.
        rows, columns = (a - b for a, b in zip(x.shape[2:], change.shape[2:], strict=True))
        change = functional.pad(change, (0, columns, 0, rows))
        change[:, : x.shape[1]] += x
        return functional.relu(change, inplace=True)


class DlibNetwork(nn.Module):
    """dlib's `face_recognition_model_v1`.

    Args:
        path: dlib_face_recognition_resnet_model_v1.dat.

    Raises:
        UserError: the file holds no such network, or not all of it.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        file = WeightsFile(path)
        channels = STAGES[0][0]
        self.entry = Convolution(file, 3, channels, 7, stride=2)
        self.blocks = nn.Sequential()
        for stage, widths in enumerate(STAGES):
            for position, width in enumerate(widths):
                self.blocks.append(Block(file, channels, width, 2 if stage and not position else 1))
                channels = width
        self.register_buffer("weight", file.take("fc_2", channels, DIMENSIONS))
        self.register_buffer("mean", torch.tensor(MEAN))
        file.finish()

    @torch.no_grad()
    def forward(self, chips: Tensor) -> Tensor:
        """Upright faces, uint8 B x 150 x 150 x 3 RGB -> B x 128, not normalised (a person: below 0.6 apart)."""
        x = ((chips - self.mean) / 256).permute(0, 3, 1, 2)
        x = functional.max_pool2d(functional.relu(self.entry(x), inplace=True), 3, 2)
        return self.blocks(x).mean(dim=(2, 3)) @ self.weight


def _whole(value: int) -> bytes:
    """A positive whole number as dlib writes it."""
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "little")
