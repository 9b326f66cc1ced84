"""Where networks run."""

import torch

from reenact.runtime.errors import UserError


def pick_device(device: str, threads: int = 0) -> torch.device:
    """Where the networks run.

    Args:
        device: 'auto' = CUDA, Apple's MPS or the CPU, whichever is there; or cpu, cuda, cuda:N, mps.
        threads: CPU threads of this process; 0 leaves them as they are.

    Raises:
        UserError: another word, or a device that this machine does not have.
    """
    if threads:
        torch.set_num_threads(threads)
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if has_cuda else "mps" if has_mps else "cpu")
    kind, _, number = device.partition(":")
    there = (
        {"cpu": True, "cuda": has_cuda and int(number or 0) < torch.cuda.device_count(), "mps": has_mps}
        if number.isdigit() or not number
        else {}
    )
    if kind not in there:
        raise UserError(f"device: {device!r}; allowed: auto, cpu, cuda, cuda:N, mps")
    if not there[kind]:
        raise UserError(f"device: {device!r} is not there on this machine; allowed here: auto, cpu")
    return torch.device(device)
