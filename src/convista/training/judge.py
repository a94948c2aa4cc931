"""What a network says to every picture of a split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from convista.data import Normalise, Pictures, eval_batches
from convista.records import View
from convista.training.distributed import World

__all__ = ["logits_of", "look"]

BATCH = 64


def look(net: nn.Module, x: Tensor, views: int = 1) -> Tensor:
    """(N, C, H, W) -> the mean logits (N, classes) of 1, 2 or 6 views of each picture.

    2: as it is and mirrored; 6: both also moved along the diagonal, by a 32nd of the side either way.
    """
    moved = [x]
    if views == 6:
        by = min(max(1, x.shape[3] // 32), *(side - 1 for side in x.shape[2:]))
        wide = pad(x, (by,) * 4, "reflect")
        moved += [wide[:, :, a : a + x.shape[2], a : a + x.shape[3]] for a in (0, 2 * by)]
    seen = [view for way in moved for view in ([way, way.flip(3)] if views > 1 else [way])]
    logits = [net(view) for view in seen]
    return logits[0] if views == 1 else torch.stack(logits).mean(0)


def logits_of(
    net: nn.Module,
    pictures: Pictures,
    view: View,
    device: torch.device,
    world: World | None = None,
    arithmetic: Callable[[], Any] | None = None,
    views: int = 1,
) -> NDArray[np.float64]:
    """The logits of every picture, in their order: (n, classes). Processes share the work.

    `arithmetic` makes the context to compute in; full precision where None. `views` of each picture are averaged, see
    `look`. Leaves `net` in eval mode.
    """
    world = world or World()
    normalise, parts = Normalise.of(view, device), []
    net.eval()
    with torch.inference_mode():
        for indices, pixels, _ in eval_batches(pictures, view, BATCH, world.rank, world.size):
            with arithmetic() if arithmetic else torch.autocast(device.type, enabled=False):
                logits = look(net, normalise(pixels.to(device)), views)
            parts.append((indices, logits.cpu().double().numpy()))
    everything = [part for share in world.gather(parts) for part in share]
    order = np.argsort(np.concatenate([indices for indices, _ in everything]))
    return np.asarray(np.concatenate([logits for _, logits in everything])[order])
