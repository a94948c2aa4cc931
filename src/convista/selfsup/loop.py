"""The loop of `train`, with two views of each picture in place of a picture and its class."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convista.data import NO_LABELS
from convista.errors import InputError
from convista.feature_recipes import SelfRecipe
from convista.records import Epoch
from convista.selfsup.contrast import info_nce, nt_xent
from convista.selfsup.encoder import Learner
from convista.selfsup.judge import Judge
from convista.selfsup.keys import Keys
from convista.training import Average, Training

__all__ = ["SelfTraining"]

HALF = 2  # views of a picture


@dataclass
class SelfTraining(Training):
    """A `Learner` that tells pictures apart by two views of each; classes, where there are any, only judge it.

    The second view of picture i is drawn as picture i + n is, which `Augmentation` takes for i drawn in another way: a
    pure function of the seed, the epoch, the picture and the view. The weights kept are those of the last epoch.
    """

    net: Learner
    asked: SelfRecipe = field(default_factory=SelfRecipe)
    labels: tuple[str, ...] = NO_LABELS
    verb: ClassVar[str] = "pretrain"

    def averaged(self) -> Average | None:
        """MoCo's second encoder and its queue."""
        asked = self.asked.decided(self.view.image, len(self.train))
        if asked.queue is None or asked.momentum_encoder is None:
            return None
        return Keys(self.net, asked.momentum_encoder, asked.queue, asked.projection, asked.seed)

    def _backward(
        self, net: nn.Module, indices: NDArray[np.int64], count: int, following: NDArray[np.int64] | None = None
    ) -> tuple[float, float]:
        """Looks at two views, compares, and adds to the gradients. Returns the loss's share and the hits."""
        batch = self.ahead(self._twice(indices), self.state.epoch)
        if following is not None:
            self.ahead.begin(self._twice(following), self.state.epoch)
        compare = self._with_keys if isinstance(self.average, Keys) else self._with_all
        losses, right = compare(net, self.normalise(batch.pictures), count)
        views = len(losses) / len(indices)
        loss = losses.sum() * (self.world.size / (views * count))  # DDP averages over the processes
        self.arithmetic.backward(loss)
        return loss.item(), float(right.sum()) / views

    def _twice(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([indices, indices + len(self.train)])

    def _with_all(self, net: nn.Module, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """SimCLR: both views of each picture with all others of the batch, in whichever process they are."""
        with self.arithmetic():
            own = net(x)
        everyone = torch.cat([self.world.in_order(half, count) for half in own.chunk(HALF)])
        mine = torch.arange(self.world.rank, count, self.world.size, device=own.device)
        return nt_xent(own, self.temperature, everyone, torch.cat([mine, mine + count]))

    def _with_keys(self, net: nn.Module, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """MoCo: the first view of each picture with the key of the second, and with those in the queue."""
        assert isinstance(self.average, Keys)
        first, second = x.chunk(HALF)
        with self.arithmetic():
            queries, keys = net(first), self.average.of(second)
        self.average.coming = self.world.in_order(keys, count)
        return info_nce(queries, keys, self.average.queue, self.temperature)

    @property
    def temperature(self) -> float:
        """What similarities are divided by."""
        return float(self.asked.decided(self.view.image, len(self.train)).temperature or 1.0)

    def judged(self) -> dict[str, float]:
        """The accuracy of the neighbours' vote on the validation pictures; no number where there are no labels."""
        top1 = math.nan
        if self.labels != NO_LABELS:
            judge = Judge(self.train, self.val, self.view, self.device, self.world, len(self.labels))
            top1 = judge.neighbours(self.net.encoder, self.arithmetic)
        return {"loss": math.nan, "top1": top1, "top5": math.nan}

    def keep(self, row: Epoch) -> None:
        """The last epoch's weights are in the checkpoint; nothing is chosen by labels."""
        self.state.best_epoch = row.epoch

    def line(self, row: Epoch) -> str:
        """What is said when an epoch ends."""
        near = "" if math.isnan(row.val_top1) else f"  kNN {row.val_top1:.3f}"
        return (
            f"epoch {row.epoch:>3}/{self.recipe.epochs}  loss {row.train_loss:.4f}  other view nearest "
            f"{row.train_top1:.3f}{near}  {row.pictures_per_second:,.0f} images/s"
        )

    def _split(self, pictures: int) -> None:
        """Raises `InputError`: parts of a batch would have fewer pictures to compare with, which is another loss."""
        raise InputError(
            f"There is not enough memory for two views of {pictures} pictures at once. Take a smaller --batch or "
            "--image, or a smaller network (convista pick)."
        )
