"""One process or many: the world as `torchrun` describes it, and batch statistics over all of it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["GlobalBatchNorm", "World", "joined", "share_statistics"]

PATIENCE = timedelta(hours=12)  # the others wait while the first process reads the pictures


@dataclass(frozen=True)
class World:
    """This process's number and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """The sums of each value over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return [float(value) for value in sums]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their numbers."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[World]:
    """The world that `RANK` and `WORLD_SIZE` describe (as set by torchrun), joined on entry and left on exit."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        rank = dist.get_rank() if dist.is_initialized() else 0
        yield World(rank, dist.get_world_size() if dist.is_initialized() else 1)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), size)
        gc.collect()  # DDP's reducers must go before the group that they talk through
        dist.barrier()  # and no process leaves while another still works
    finally:
        dist.destroy_process_group()


class _Total(torch.autograd.Function):
    """The sum over all processes; what flows back is the sum of what flows back in each."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _total(values: Tensor) -> Tensor:
    return _Total.apply(values)  # type: ignore[no-any-return]


class GlobalBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with the statistics of the whole world's batch, on any device.

    torch's `SyncBatchNorm` needs a GPU; this one lets several CPU processes compute what a single one would.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            count = torch.full_like(wide[0, :, 0, 0], wide.numel() / wide.shape[1])
            sums = torch.cat([wide.sum((0, 2, 3)), count]).double()
            totals = _total(sums)
            n = totals[self.num_features]
            mean = (totals[: self.num_features] / n).to(wide.dtype)
            centred = wide - mean.view(1, -1, 1, 1)
            variance = (_total(centred.square().sum((0, 2, 3)).double()) / n).to(wide.dtype)
            scale = self.weight * torch.rsqrt(variance + self.eps)
            self._track(mean.detach(), variance.detach(), float(n.detach()))
            y = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
            return y.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = 1 / (1 + int(self.num_batches_tracked)) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (n / max(1.0, n - 1)), momentum)
        self.num_batches_tracked.add_(1)


def share_statistics(net: nn.Module) -> None:
    """Makes every batch normalisation of `net` use the batch of all processes; names and weights stay."""
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm
