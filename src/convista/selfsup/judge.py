"""How good features are, told by labels that had no part in learning: the vote of neighbours, and its floors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from convista.data import Pictures
from convista.records import View
from convista.training import World, logits_of
from convista.transfer import knn

__all__ = ["ALL", "BANK", "Judge", "Pixels", "some"]

BANK, ALL = 10_000, 50_000  # pictures that vote, at most, while a network learns, and at its end
SIDE = 32  # pixels that are compared, at most


@dataclass(frozen=True)
class Judge:
    """Pictures `asked` about, and those of the `bank`, whose labels vote."""

    bank: Pictures
    asked: Pictures
    view: View
    device: torch.device
    world: World
    classes: int
    most: int = BANK

    def neighbours(self, encoder: nn.Module, arithmetic: Callable[[], Any] | None = None) -> float:
        """Top-1, 0..1, of the 200 nearest neighbours' vote by cosine at a temperature of 0.07 (Wu et al. 2018)."""
        bank, asked = some(self.bank, self.most), some(self.asked, self.most)
        known, queries = (self.features(encoder, pictures, arithmetic) for pictures in (bank, asked))

        def vote() -> float:
            shares = knn(known, bank.targets, self.classes, queries)
            return float((shares.argmax(1) == asked.targets).mean())

        return self.world.once(vote)

    def features(
        self, encoder: nn.Module, pictures: Pictures, arithmetic: Callable[[], Any] | None = None
    ) -> NDArray[np.float32]:
        """(n, D), the middles of the pictures by the encoder, which is left in eval mode."""
        return logits_of(encoder, pictures, self.view, self.device, self.world, arithmetic).astype(np.float32)


class Pixels(nn.Module):
    """No network: the normalised pixels themselves, averaged down to at most 32 a side."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        return adaptive_avg_pool2d(x, min(SIDE, x.shape[2])).flatten(1)


def some(pictures: Pictures, most: int) -> Pictures:
    """At most so many, evenly picked."""
    if len(pictures) <= most:
        return pictures
    return pictures.only(np.linspace(0, len(pictures) - 1, most).round().astype(np.int64))
