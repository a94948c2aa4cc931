"""How built modules run: in sequence, with or without keeping what lies between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Sequence", "recompute"]


class Sequence(nn.Sequential):
    """Modules in sequence. With `checkpointing` each one's inside is computed again in the backward pass."""

    checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        for child in self:
            x = recompute(child, x) if self.checkpointing and self.training else child(x)
        return x


def recompute(module: nn.Module, *inputs: Tensor) -> Tensor:
    """`module(*inputs)`, keeping nothing of its inside for the backward pass, which runs it a second time.

    Running statistics of normalisation move once, not twice, so training is the same to the bit (Chen et al. 2016).
    """
    if not torch.is_grad_enabled() or getattr(module, "inplace", False):  # what overwrites its input cannot run twice
        return module(*inputs)  # type: ignore[no-any-return]

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_stand_still(module)

    return checkpoint(module, *inputs, use_reentrant=False, context_fn=contexts)  # type: ignore[no-any-return]


@contextmanager
def _statistics_stand_still(module: nn.Module) -> Iterator[None]:
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted
