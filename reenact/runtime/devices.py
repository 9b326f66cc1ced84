"""Where networks run, and what that can do."""

import re

import torch

from reenact.runtime.allocator import keep_freed_memory
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
    keep_freed_memory()
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if device == "auto":
        return torch.device(next(kind for kind, count in counts.items() if count))
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UserError(f"device: {device!r}; allowed: auto, cpu, cuda, cuda:N, mps")
    kind, _, number = device.partition(":")
    if int(number or 0) >= counts[kind]:
        raise UserError(f"device: {device!r} is not there on this machine; allowed here: auto, cpu")
    return torch.device(device)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by instructions of its own (AMX-BF16, AVX512-BF16, NVIDIA since Ampere).

    Elsewhere it is emulated, and slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
