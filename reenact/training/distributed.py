"""Several processes (ranks) that share one training: which this one is, and exchanges between all. One process needs
none of it.

torchrun (or `reenact.runtime.torchrun`, for one machine) starts the processes and tells them about each other;
accelerate opens their connection: NCCL on GPUs, gloo on CPUs. All ranks call the functions here at the same point, or
none does.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import gather_object
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx

from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError


@contextmanager
def init_distributed(device: str, threads: int = 0) -> Iterator[torch.device]:
    """Meet the other processes, if torchrun or `launch` started several; yields the device of this one.

    Args:
        device, threads: see `pick_device`; with several processes each has a GPU of its own (auto, cuda), or all the
            CPU.

    Raises:
        UserError: the device is not there, or is one that several processes cannot share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield pick_device(device, threads)
        return
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: {device!r}; with several processes allowed: auto, cpu, cuda")
    picked = pick_device(device, threads)
    if picked.type == "cuda" and int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
        raise UserError(f"meta.processes: more processes than the {torch.cuda.device_count()} GPUs of this machine")
    state = PartialState(cpu=picked.type != "cuda")
    yield state.device
    barrier()
    state.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes share the training."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this is rank 0, the one that writes files and prints."""
    return rank() == 0


def barrier() -> None:
    """Go on when all ranks are here."""
    if world_size() > 1:
        distributed.barrier()


def any_rank(here: list[bool], device: torch.device) -> list[bool]:
    """Of each flag, whether it is set in any rank."""
    if world_size() == 1:
        return here
    flags = torch.tensor(here, dtype=torch.float32, device=device)
    distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return [bool(flag) for flag in flags.tolist()]


def all_gather(items: list[Any]) -> list[Any]:
    """The lists of all ranks, one behind the other."""
    return gather_object(items) if world_size() > 1 else items


class _AllReduceMean(torch.autograd.Function):
    """Mean over ranks. Its gradient is the mean of the gradients that all ranks have for it: as `average_gradients`
    divides by the number of ranks once, the whole is the gradient of the mean of all ranks' losses."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        """The mean, which every rank gets."""
        values = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(values)
        return values / world_size()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        """The mean of all ranks' gradients."""
        return _AllReduceMean.apply(gradient)


@torch.compiler.disable
def all_reduce_mean(values: Tensor) -> Tensor:
    """Mean of a tensor over ranks; gradients flow through it. With one rank, the tensor itself."""
    return _AllReduceMean.apply(values) if world_size() > 1 else values


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum of a tensor over ranks; gradients flow through it."""
    return all_reduce_mean(values) * world_size()


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every rank the mean of all ranks' gradients, in one exchange."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of rank 0."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)
