"""How exactly a GPU computes in float32."""

import torch


def allow_tf32(allowed: bool) -> None:
    """Let NVIDIA GPUs round the inputs of float32 products and convolutions to 10 bits (TF32), or not.

    It holds for this process. torch itself lets convolutions round and products not, so that float32 would be neither.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
