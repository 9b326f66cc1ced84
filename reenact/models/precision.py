"""What networks compute in, and how they lie in memory."""

from typing import Any

import torch
from torch import nn

from reenact.runtime.devices import has_bfloat16


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` as what the device is fast in: bf16 where it has instructions for it, else fp32; others as they are."""
    if precision != "auto":
        return precision
    return "bf16" if has_bfloat16(device) else "fp32"


def allow_tf32(allowed: bool) -> None:
    """Let NVIDIA GPUs round the inputs of float32 products and convolutions to 10 bits (TF32), or not.

    It holds for this process. torch itself lets convolutions round and products not, so that float32 would be neither.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def compute_in(network: nn.Module, precision: str) -> None:
    """Make a trained network faster: channels last, and its convolutions in bf16 if `precision` says so.

    What goes in and comes out is float32, and so is what lies between convolutions and is sensitive. In place.

    Args:
        network: puts out a tensor, or a tuple or dictionary of them.
        precision: fp32 or bf16.
    """
    lay_out(network)
    if precision != "bf16":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(torch.bfloat16)  # once, in place of in every pass
    plain = network.forward

    def forward(*inputs: Any) -> Any:
        """As the network's own, in bf16."""
        with torch.autocast(next(network.parameters()).device.type, torch.bfloat16):
            return _float(plain(*inputs))

    network.forward = forward


def lay_out(network: nn.Module) -> None:
    """Put a network's weights into the memory format channels_last, in which its maps then follow. In place."""
    first = next(network.parameters(), None)
    if first is not None and first.device.type != "mps":  # which copies such tensors back and forth
        network.to(memory_format=torch.channels_last)


def _float(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: value.float() for name, value in found.items()}
    return found.float() if isinstance(found, torch.Tensor) else tuple(value.float() for value in found)
