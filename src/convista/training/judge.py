"""What a network says to every picture of a split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convista.data import Normalise, Pictures, eval_batches
from convista.records import View
from convista.training.distributed import World

__all__ = ["logits_of"]

BATCH = 64


def logits_of(
    net: nn.Module,
    pictures: Pictures,
    view: View,
    device: torch.device,
    world: World | None = None,
    arithmetic: Callable[[], Any] | None = None,
) -> NDArray[np.float64]:
    """The logits of every picture, in their order: (n, classes). Processes share the work.

    `arithmetic` makes the context to compute in; full precision where None. Leaves `net` in eval mode.
    """
    world = world or World()
    normalise, parts = Normalise.of(view, device), []
    net.eval()
    with torch.inference_mode():
        for indices, pixels, _ in eval_batches(pictures, view, BATCH, world.rank, world.size):
            with arithmetic() if arithmetic else torch.autocast(device.type, enabled=False):
                logits = net(normalise(pixels.to(device)))
            parts.append((indices, logits.cpu().double().numpy()))
    everything = [part for share in world.gather(parts) for part in share]
    order = np.argsort(np.concatenate([indices for indices, _ in everything]))
    return np.asarray(np.concatenate([logits for _, logits in everything])[order])
