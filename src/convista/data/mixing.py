"""Mixup and CutMix: a picture and part of another, whose class counts in proportion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convista.data.chance import draws, offsets

__all__ = ["Mixing", "Pair", "join", "pairs"]

APART = 1 << 32  # added to the epoch: other numbers than those of the augmentation


@dataclass(frozen=True)
class Mixing:
    """How pictures are mixed: alpha of Mixup's and of CutMix's Beta distribution, 0 for never.

    With both, each picture gets one or the other, half of the time each. `balanced` partners are of every class equally
    often.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    balanced: bool = False

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True)
class Pair:
    """A picture's partner, and what of the partner is put in: `box` (left, top, right, bottom), or a haze over all.

    `share` is the picture's own part, 0..1.
    """

    partner: int
    share: float
    box: tuple[int, int, int, int] | None


def join(own: Tensor, others: Tensor, pairs: list[Pair]) -> Tensor:
    """Two batches of pictures (n, C, H, W) as bytes -> one; `own` is written to where a box is put in."""
    hazes = [i for i, pair in enumerate(pairs) if pair.box is None]
    if hazes:
        mine = torch.tensor([round(pairs[i].share * 256) for i in hazes], dtype=torch.int32, device=own.device)
        mine = mine.view(-1, 1, 1, 1)
        own[hazes] = ((own[hazes] * mine + others[hazes] * (256 - mine) + 128) >> 8).to(torch.uint8)
    for i, pair in enumerate(pairs):
        if pair.box is not None:
            left, top, right, bottom = pair.box
            own[i, :, top:bottom, left:right] = others[i, :, top:bottom, left:right]
    return own


def pairs(
    mixing: Mixing, classes: NDArray[np.int64], side: int, seed: int, epoch: int, indices: NDArray[np.int64]
) -> list[Pair]:
    """A partner for each index among pictures of these classes, a pure function of (seed, epoch, index).

    Mixup (Zhang et al. 2017): share drawn from Beta(alpha, alpha). CutMix (Yun et al. 2019): a box of one minus that
    share of the area, its middle anywhere; what is cut off by the edges counts as the picture's own.
    """
    numbers = draws(seed, epoch + APART, indices, 6)
    partners = (
        _of_each_class(classes, numbers[:, [0, 5]]) if mixing.balanced else offsets(numbers[:, 0], len(classes) - 1)
    )
    often = 0.5 if mixing.mixup and mixing.cutmix else float(mixing.cutmix > 0)
    cuts = numbers[:, 1] < often
    shares = _beta(numbers[:, 2], np.where(cuts, mixing.cutmix, mixing.mixup))
    found = []
    for partner, cut, share, (x, y) in zip(partners, cuts, shares, numbers[:, 3:5], strict=True):
        if not cut:
            found.append(Pair(int(partner), float(share), None))
            continue
        half = side * math.sqrt(1 - share) / 2
        left, top, right, bottom = (
            min(side, max(0, round(edge)))
            for edge in (x * side - half, y * side - half, x * side + half, y * side + half)
        )
        own = 1 - (right - left) * (bottom - top) / side**2
        found.append(Pair(int(partner), own, (left, top, right, bottom)))
    return found


def _of_each_class(classes: NDArray[np.int64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """A class first, then one of its pictures."""
    members = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    chosen = [members[c] for c in offsets(numbers[:, 0], len(members) - 1)]
    return np.array([own[int(u * len(own))] for own, u in zip(chosen, numbers[:, 1], strict=True)], np.int64)


def _beta(numbers: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of Beta(alpha, alpha)."""
    from scipy.special import betaincinv  # a part of scikit-learn's installation, loaded only where it is needed

    return np.asarray(betaincinv(alpha, alpha, numbers))
