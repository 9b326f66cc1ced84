"""How near a computation comes to what its device can do: model FLOPs utilization (MFU).

Operations are multiplications and additions of convolutions and matrix products, two for each pair, as they are really
made; what norms, losses and optimizers do is not counted, and takes its time nevertheless.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

CHANNELS, SIDE = 256, 64
"""Of the convolution that is taken to be what a device does best."""

SECONDS, ROUNDS = 0.2, 4
"""How long it is tried, and how often at least."""

_ATEN = torch.ops.aten
FIRST_OPERAND = {_ATEN.convolution: 0, _ATEN.mm: 0, _ATEN.bmm: 0, _ATEN.addmm: 1, _ATEN.baddbmm: 1}
"""What is counted, and the place of the first of its two operands, of which a bias is none."""


class Utilization:
    """The share of a device's ceiling that steps of one training reach.

    Args:
        device, precision: of the training.
        compiled: whether its networks are: torch runs no compiled code where operations are counted, so that none are.

    Attributes:
        ceiling: operations a second, see `measure_ceiling`.
    """

    def __init__(self, device: torch.device, precision: str, compiled: bool = False) -> None:
        self.ceiling = measure_ceiling(device, precision)
        self._compiled = compiled
        self._counts: dict[int, OperationCount] = {}

    def counting(self, kind: int) -> AbstractContextManager[Any]:
        """For around the forward passes of a step, which are counted if no step of this kind was before."""
        if self._compiled or kind in self._counts:
            return nullcontext()
        self._counts[kind] = OperationCount()
        return self._counts[kind]

    def numbers(self, kind: int, seconds: float) -> dict[str, float]:
        """`mfu`, 0 to 1, of a step of a kind that took so long; {} where nothing was counted.

        Above 1 where the machine did other work while the ceiling was measured.
        """
        return {"mfu": self._counts[kind].total / seconds / self.ceiling} if kind in self._counts else {}


class OperationCount(TorchDispatchMode):
    """Counts, within `with` statements around forward passes, the operations of these and of their backward passes.

    As many as forwards for each of the two operands that has a gradient. Backward passes themselves are not watched:
    where they are (by torch's FlopCounterMode too), gradients are added up in another memory layout, and rounded
    otherwise.

    Attributes:
        total: operations so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let torch do `func`, and count it."""
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in FIRST_OPERAND:
            operands = args[FIRST_OPERAND[packet] :][:2]
            learning = sum(operand.requires_grad for operand in operands) if torch.is_grad_enabled() else 0
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=out) * (1 + learning)
        return out


@cache
def measure_ceiling(device: torch.device, precision: str = "fp32") -> float:
    """Operations a second that a device does at most: those of a 3x3 convolution, the fastest of some.

    Measured once in a process; no random state is touched.

    Args:
        device: where.
        precision: bf16; or fp32 or tf32, for which torch must be set already (`models.precision.allow_tf32`).
    """
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    # One picture keeps a CPU busy, a GPU not; nor does it one convolution, beside the time to start it.
    count, repeats = (1, 1) if device.type == "cpu" else (32, 8)
    random = torch.Generator().manual_seed(0)
    order = torch.contiguous_format if device.type == "mps" else torch.channels_last
    x, weight = (
        torch.rand(shape, generator=random).to(device, kind).contiguous(memory_format=order)
        for shape in ((count, CHANNELS, SIDE, SIDE), (CHANNELS, CHANNELS, 3, 3))
    )
    times: list[float] = []
    with torch.no_grad():
        while len(times) < ROUNDS or sum(times) < SECONDS:
            began = time.perf_counter()
            for _ in range(repeats):
                torch.nn.functional.conv2d(x, weight, padding=1)
            if device.type != "cpu":
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - began)
    return 2 * repeats * count * SIDE**2 * weight.numel() / min(times)
