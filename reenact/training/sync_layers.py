"""Batch norm and dropout over the samples of all ranks (`reenact.data.rank_batch`)."""

from math import prod

import torch
from torch import Tensor, nn

from reenact.training import distributed


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the samples of all ranks. (torch's SyncBatchNorm wants GPUs.)"""

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W, of this rank -> the same shape."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(x)
        # In float32, and about the running mean: E[x^2] - E[x]^2 would cancel.
        wide, shift = x if x.dtype == torch.float64 else x.float(), self.running_mean
        variance, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        mean, square = distributed.all_reduce_mean(torch.stack([mean, variance + (mean - shift).square()]))
        variance = square - (mean - shift).square()
        self._update_running(mean.detach(), variance.detach(), distributed.world_size() * prod(x.shape) / x.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        offset = self.bias - mean * scale
        return (wide * scale[:, None, None] + offset[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, values: float) -> None:
        """Move the running statistics, with the unbiased variance, as torch does."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * values / (values - 1), self.momentum)


class SyncDropout(nn.Dropout):
    """Dropout whose mask is drawn for the samples of all ranks, each of which takes its own part."""

    def forward(self, x: Tensor) -> Tensor:
        """B x F, of this rank -> the same shape."""
        if not self.training or not self.p:
            return x
        mask = torch.rand(distributed.world_size() * len(x), *x.shape[1:], device=x.device) >= self.p
        return x * mask.chunk(distributed.world_size())[distributed.rank()] / (1 - self.p)


def convert_sync_layers(net: nn.Module) -> None:
    """Let batch norms and dropouts of a network work on the samples of all ranks; names and weights stay. In place."""
    synced = {nn.BatchNorm2d: SyncBatchNorm, nn.Dropout: SyncDropout}
    for module in net.modules():
        if type(module) in synced:
            module.__class__ = synced[type(module)]
