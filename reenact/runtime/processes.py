"""Several processes that share one training: who this one is, and sums over all of them. One process needs none of it.

torchrun (or `launch`, for one machine) starts the processes and tells them about each other; accelerate opens their
connection: NCCL on GPUs, gloo on CPUs. Functions here are called by all processes at the same point, or by none.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import gather_object
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx

from reenact.runtime.devices import pick_device
from reenact.runtime.errors import CONTINUE_STATUS, InterruptedRun, UserError


@contextmanager
def init_distributed(device: str, threads: int = 0) -> Iterator[torch.device]:
    """Meet the other processes, if torchrun or `launch` started several; yields the device of this one.

    Args:
        device, threads: see `pick_device`; with several processes each has a GPU of its own (auto, cuda), or all the CPU.

    Raises:
        UserError: the device is not there, or is one that several processes cannot share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield pick_device(device, threads)
        return
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: {device!r}; with several processes allowed: auto, cpu, cuda")
    place = pick_device(device, threads)
    if place.type == "cuda" and int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
        raise UserError(f"meta.processes: more processes than the {torch.cuda.device_count()} GPUs of this machine")
    state = PartialState(cpu=place.type != "cuda")
    yield state.device
    wait()
    state.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


def wait() -> None:
    """Go on when all are here."""
    if count() > 1:
        distributed.barrier()


def any_of(here: list[bool], device: torch.device) -> list[bool]:
    """Of each, whether it holds in any process."""
    if count() == 1:
        return here
    flags = torch.tensor(here, dtype=torch.float32, device=device)
    distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return [bool(flag) for flag in flags.tolist()]


def all_gather(items: list[Any]) -> list[Any]:
    """The lists of all processes, one behind the other."""
    return gather_object(items) if count() > 1 else items


class _Mean(torch.autograd.Function):
    """Mean over processes. Its gradient is the mean of the gradients that all processes have for it: as `average_gradients`
    divides by the number of processes once, the whole is the gradient of the mean of all processes' losses."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        values = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(values)
        return values / count()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _Mean.apply(gradient)


@torch.compiler.disable
def mean(values: Tensor) -> Tensor:
    """Mean of a tensor over processes; gradients flow through it. With one process, the tensor itself."""
    return _Mean.apply(values) if count() > 1 else values


def total(values: Tensor) -> Tensor:
    """Sum of a tensor over processes; gradients flow through it."""
    return mean(values) * count()


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every process the mean of all processes' gradients, in one exchange."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= count()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view(gradient.shape))


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the main process."""
    if count() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def launch(processes: int) -> bool:
    """Run this same command line in several processes of this machine, unless they run already.

    torchrun's launcher, called from Python: as a command it turns every failure into status 1, and CONTINUE_STATUS would be lost.

    Args:
        processes: how many.

    Returns:
        Whether they were run, to their end; False = this process is to do the work.

    Raises:
        InterruptedRun: they were told to stop, and saved their state.
        SystemExit: another failure; they said why.
    """
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")  # passed on
    signal.signal(signal.SIGURG, signal.SIG_IGN)  # sent to a whole job: the processes get it themselves
    module = sys.modules["__main__"].__spec__.name
    meeting = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "reenact"}
    plan = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0, **meeting)
    try:
        elastic_launch(plan, sys.executable)("-m", module, *sys.argv[1:])
    except SignalException as told:
        raise InterruptedRun(f"{module}: {told.sigval.name} passed on to {processes} processes") from None
    except ChildFailedError as failed:
        statuses = {failure.exitcode for failure in failed.failures.values()}
        if CONTINUE_STATUS in statuses:
            raise InterruptedRun(f"{module}: {processes} processes saved their state") from None
        raise SystemExit(1) from None
    return True
