"""Instance norm, affine change and ReLU in one piece.

On a CPU, torch's instance norm copies maps that lie with the channels last and knows no affine change that differs
between samples: with the product, the sum and the ReLU behind it, it goes through memory nine times forwards. A batch
norm of one sample is an instance norm, and has all of it in one kernel.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def instance_norm_relu(x: Tensor, bias: Tensor, scale: Tensor, eps: float) -> Tensor:
    """relu(instance_norm(x) * scale + bias).

    Args:
        x: B x C x H x W, of any floating type; norms are taken in float32 at least.
        bias, scale: B x C, of the weights' type.
        eps: added to the variance.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _InstanceNormReLU.apply(x, bias, scale, eps)
    normed = functional.instance_norm(x, eps=eps) * scale[:, :, None, None] + bias[:, :, None, None]
    return functional.relu(normed.to(x.dtype))


class _InstanceNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, scale: Tensor, eps: float) -> Tensor:
        """See `instance_norm_relu`."""
        out = torch.empty_like(x)
        bias, scale = bias.contiguous(), scale.contiguous()
        means, inverses = torch.empty_like(scale), torch.empty_like(scale)
        for k in range(len(x)):
            row = slice(k, k + 1)
            torch.native_batch_norm(
                x[row], scale[k], bias[k], None, None, True, 0.0, eps, out=(out[row], means[k], inverses[k])
            )
        out.relu_()
        ctx.save_for_backward(x, out, scale, means, inverses)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Of x, bias and scale."""
        x, out, scale, means, inverses = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradients[0], out, 0)
        found = [
            torch.ops.aten.native_batch_norm_backward(
                g[None], sample[None], weight, None, None, mean, inverse, True, ctx.eps, [True, True, True]
            )
            for g, sample, weight, mean, inverse in zip(gradient, x, scale, means, inverses, strict=True)
        ]
        of_x, of_scale, of_bias = zip(*found, strict=True)
        return torch.cat(of_x), torch.stack(of_bias), torch.stack(of_scale), None
