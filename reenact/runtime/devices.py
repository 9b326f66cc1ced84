"""Where networks run."""

import re

import torch

from reenact.runtime.errors import UserError


def pick_device(device: str, threads: int = 0) -> torch.device:
    """The torch device that a setting names.

    Args:
        device: 'auto' = CUDA, Apple's MPS or the CPU, whichever is there; or cpu, cuda, cuda:N, mps.
        threads: CPU threads of this process; 0 leaves them as they are.

    Raises:
        UserError: another word, or a device that this machine does not have.
    """
    if threads:
        torch.set_num_threads(threads)
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if device == "auto":
        return torch.device(next(kind for kind, count in counts.items() if count))
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UserError(f"device: {device!r}; allowed: auto, cpu, cuda, cuda:N, mps")
    kind, _, number = device.partition(":")
    if int(number or 0) >= counts[kind]:
        raise UserError(f"device: {device!r} is not there on this machine; allowed here: auto, cpu")
    return torch.device(device)
