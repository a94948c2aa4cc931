"""Statistics of batch normalisation measured anew, for the weights as they are now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convista.data import Normalise, Pictures, eval_view, global_batches
from convista.records import View
from convista.training.distributed import World

__all__ = ["recalibrate"]

MOST = 4096  # pictures looked at


def recalibrate(
    net: nn.Module,
    pictures: Pictures,
    view: View,
    device: torch.device,
    world: World | None = None,
    arithmetic: Callable[[], Any] | None = None,
) -> None:
    """The mean over batches of their means and variances, in place of the running ones.

    Running ones lag behind the weights, and an average of weights has never computed any (after "precise BN", Wu and
    Johnson 2021, who add the variance of the batches' means, which is small for maps). Up to 4,096 pictures in batches
    of 64, unchanged, in a fixed order; processes share them (larger batches from the 33rd process on, so that each has
    at least one picture of each).
    """
    world, normalise = world or World(), Normalise.of(view, device)
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    batch = max(64, 2 * world.size)  # nearly equal parts of all pictures: none is smaller than half of this
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    net.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for indices in global_batches(len(pictures), batch, 0, 0)[: max(1, MOST // batch)]:
            pixels, _ = eval_view(pictures, indices[world.rank :: world.size], view)
            with arithmetic() if arithmetic else torch.autocast(device.type, enabled=False):
                net(normalise(pixels.to(device)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
