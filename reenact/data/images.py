"""Between images as arrays (uint8, channels last) and as tensors (float, channels first)."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reenact.runtime.errors import UserError


def to_tensor(images: np.ndarray | Sequence[np.ndarray]) -> Tensor:
    """uint8 images of one size, H x W x C or H x W, as an array or a list -> float32, N x C x H x W in [0, 1]."""
    # Image by image into the result: an array of all, and one of floats before they are divided, would be fresh memory,
    # which costs more than the arithmetic (9 frames of 256 px: 2.8 ms in place of 5.7).
    result = torch.empty(len(images), *np.shape(images[0])) if len(images) else torch.empty(0, *np.shape(images)[1:])
    for row, image in zip(result, images, strict=True):
        row.copy_(torch.from_numpy(np.ascontiguousarray(image))).div_(255)
    return (result if result.dim() == 4 else result[..., None]).permute(0, 3, 1, 2)


def to_uint8(images: Tensor) -> np.ndarray:
    """float, N x C x H x W -> uint8, N x H x W x C (N x H x W where C = 1); values are clamped to [0, 1]."""
    array = (images.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def resize_area(images: np.ndarray, size: int) -> np.ndarray:
    """Square uint8 images, N x S x S (x C), to N x size x size (x C) by the exact mean over areas.

    Raises:
        UserError: S is not a multiple of `size`.
    """
    side = images.shape[1]
    if side == size:
        return images
    if side % size:
        raise UserError(f"crops of {side} px do not divide into {size} px; set crop.size to a multiple of {size}")
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])


def resize_to(image: np.ndarray, side: int) -> np.ndarray:
    """One square image at any other size: cubic up, area mean down.

    Args:
        image: S x S or S x S x C, uint8, or float in [0, 1] (and clipped to that).
        side: of the result, px.
    """
    if image.shape[0] == side:
        return image
    kernel = cv2.INTER_CUBIC if image.shape[0] < side else cv2.INTER_AREA
    resized = cv2.resize(image, (side, side), interpolation=kernel)
    return resized if image.dtype == np.uint8 else np.clip(resized, 0, 1)


def fit(images: Tensor, size: int) -> Tensor:
    """Square images, float N x C x S x S in [0, 1], at any other size: exact area mean down, cubic up (clamped).

    Args:
        images: S is any side.
        size: side of the result, px.
    """
    side = images.shape[-1]
    if side == size:
        return images
    if side % size == 0:
        return functional.avg_pool2d(images, side // size)
    if side < size:
        return functional.interpolate(images, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    # Row i of `coverage` says how much of output pixel i each input pixel covers.
    step = side / size
    begin = torch.arange(size, dtype=torch.float64)[:, None] * step
    pixel = torch.arange(side, dtype=torch.float64)[None]
    overlap = torch.minimum(begin + step, pixel + 1) - torch.maximum(begin, pixel)
    coverage = (overlap.clamp_min(0) / step).to(images)
    return coverage @ images @ coverage.T


def frame_by_frame(batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of (RGB B x 3 x S x S, matte B x 1 x S x S) in [0, 1] -> (uint8 S x S x 3, uint8 S x S) one by one."""
    for rgb, matte in batches:
        yield from zip(to_uint8(rgb), to_uint8(matte), strict=True)
