"""Mean absolute difference of feature maps, without a copy of each of them in float32."""

from typing import Any

import torch
from torch import Tensor


def mean_difference(ours: Tensor, true: Tensor) -> Tensor:
    """`functional.l1_loss(ours, true)`, for maps in bfloat16 too: a float32 scalar at least.

    The sum is taken in float32; no gradient reaches `true`.
    """
    return _MeanDifference.apply(ours, true.detach())


class _MeanDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ours: Tensor, true: Tensor) -> Tensor:
        """See `mean_difference`."""
        difference = ours - true
        total = _sum(difference.abs())
        ctx.save_for_backward(difference.sign_())
        return total / difference.numel()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Of ours."""
        (sign,) = ctx.saved_tensors
        return sign * (gradients[0] / sign.numel()).to(sign.dtype), None


def _sum(values: Tensor) -> Tensor:
    """A float32 scalar at least; sums of single rows are rounded to bfloat16 where values are."""
    # Not torch's norm, which adds one by one: millions of small numbers to a large one, 6e-4 of which are lost. Nor
    # sum(dtype=float32), which makes a float32 copy first.
    if values.dtype == torch.bfloat16 and values.dim() == 4:
        values = values.sum((1, 3))
    return values.sum(dtype=torch.promote_types(values.dtype, torch.float32))
