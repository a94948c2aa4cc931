"""More than the head: stages of a pretrained network that learn further, from pictures or from maps that are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convista.blocks import Net
from convista.data import Ahead, Batch, Mixing, Pictures, user_cache
from convista.data.chance import draws, offsets
from convista.data.mixing import pairs
from convista.data.rows import LIMIT
from convista.devices import main_memory
from convista.tasks import Run
from convista.training import Console, Training, Where, figures, softmax
from convista.transfer.extract import Features, Views, features_of
from convista.transfer.plan import Plan
from convista.transfer.pretrained import Pretrained
from convista.transfer.table import KEPT
from convista.transfer.trunk import Trunk

__all__ = ["TuningOnMaps", "boundary", "tuning"]

PART = 0.25  # of the machine's memory that maps may take
NUMBER = 2  # bytes


def tuning(
    run: Run,
    base: Pretrained,
    net: nn.Module,
    splits: Mapping[str, Pictures],
    plan: Plan,
    where: Where,
    console: Console,
) -> tuple[Training, list[Features]]:
    """The training of `net` from the plan's first stage on, and the maps it learns from: those that this stage is given
    in several views, computed once; none where they are too many, or what is asked for needs the pictures.
    """
    recipe, train, val = run.recipe, splits["train"], splits["val"]
    thaw = plan.thaw(recipe.epochs)
    row = boundary(net, plan.first) if not recipe.cutmix else ""
    looks = [Views.of(recipe, run.info["from"]["views"]), Views()]
    precisions = (recipe.precision, "fp32")
    trunks = [Trunk(base.net, base.view, where.device, row, True, p) for p in precisions] if row else []
    counts = [len(part) * look.count for part, look in zip((train, val), looks, strict=True)]
    if not trunks or not _fits(math.prod(trunks[0].shape) * sum(counts)):
        console.say(f"Learning from pictures, from {plan.first} on.")
        return Training(net, train, val, run.view, recipe, where, console, thaw), []
    console.say(f"Learning from {row}'s maps in {looks[0].count} views, from {plan.first} on.")
    seen, judging = (
        features_of(trunk, part, look, user_cache() / KEPT, console.reading)
        for trunk, part, look in zip(trunks, (train, val), looks, strict=True)
    )
    training = TuningOnMaps(
        net, train, val, run.view, recipe, where, console, thaw, seen=seen, judging=judging, first=plan.first
    )
    return training, [seen, judging]


def boundary(net: nn.Module, first: str) -> str:
    """The row whose maps stage `first` is given; "" where pictures come before it, or there is no table to tell."""
    if not isinstance(net, Net):
        return ""
    rows = [name for name, _ in net.spec.table.rows]
    return rows[rows.index(first) - 1] if rows.index(first) else ""


def _fits(numbers: int) -> bool:
    """Whether so many numbers can be held at once, and kept: a quarter of the memory, and what the cache may take."""
    return NUMBER * numbers <= min(PART * main_memory(), LIMIT)


@dataclass
class TuningOnMaps(Training):
    """Training from row `first` on, of the maps that it is given: an epoch shows one of the views kept of each picture.

    Which one is a pure function of (seed, epoch, picture). What is mixed is mixed there (Verma et al. 2019).
    """

    of_pictures: ClassVar[bool] = False
    seen: Features = field(kw_only=True)
    judging: Features = field(kw_only=True)
    first: str = field(kw_only=True)

    def __post_init__(self) -> None:
        self.net.first_row = self.first  # type: ignore[assignment]
        super().__post_init__()
        self.normalise = _as_maps  # type: ignore[assignment]  # they are what a trained stage puts out
        self.ahead = Ahead(self._batch, self.device)
        self.mixing = Mixing(self.recipe.mixup, 0.0, self.recipe.balanced)

    def judged(self) -> dict[str, float]:
        return figures(softmax(logits_on_maps(self.kept, self.judging, self.device)), self.val.targets)

    def _batch(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        own, targets = self._shown(indices, epoch), torch.from_numpy(self.train.targets[indices % len(self.train)])
        if not self.mixing:
            return Batch(own, targets)
        joined = pairs(self.mixing, self.train.targets, 1, self.recipe.seed, epoch, indices)
        partners = np.array([pair.partner for pair in joined], np.int64)
        shares = torch.tensor([pair.share for pair in joined], dtype=torch.float32)
        others = self._shown(partners, epoch)
        mixed = torch.lerp(others.float(), own.float(), shares.view(-1, *[1] * (own.ndim - 1)))
        return Batch(mixed, targets, torch.from_numpy(self.train.targets[partners % len(self.train)]), shares)

    def _shown(self, indices: NDArray[np.int64], epoch: int) -> Tensor:
        """Maps (n, C, H, W) of one view of each picture."""
        views = offsets(draws(self.recipe.seed, epoch, indices, 1)[:, 0], self.seen.values.shape[1] - 1)
        return torch.from_numpy(self.seen.values[indices % len(self.train), views])


def logits_on_maps(net: nn.Module, features: Features, device: torch.device, batch: int = 64) -> NDArray[np.float64]:
    """What the network says to the first view's maps, in full precision: (n, classes). Leaves it in eval mode."""
    net.eval()
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        parts = [
            net(_as_maps(torch.from_numpy(features.values[start : start + batch, 0]).to(device))).cpu().double()
            for start in range(0, len(features.values), batch)
        ]
    return np.asarray(torch.cat(parts).numpy())


def _as_maps(values: Tensor) -> Tensor:
    if values.ndim != 4:  # a vector, behind a first linear layer
        return values.float()
    return values.to(torch.float32, memory_format=torch.channels_last)
