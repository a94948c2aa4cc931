"""LAMB: AdamW's step, each layer's as long as its weights are large (You et al. 2019, algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from convista.training.moments import OneByOne, adam

__all__ = ["Lamb"]

LONGEST = 10.0  # of the trust ratio


class Lamb(OneByOne):
    """The step is `lr * |w| / |r| * r` with `r = m / (sqrt(v) + eps) + weight_decay * w`, moments without bias.

    Norms and biases (one-dimensional) take Adam's step as it is, as their sizes say nothing.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def move(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Adam's update, as long as the tensor itself times the rate."""
        update = adam(self.state[p], grad, group["betas"], group["eps"]).add_(p, alpha=group["weight_decay"])
        trust = 1.0
        if p.ndim > 1:
            ours, theirs = float(p.norm()), float(update.norm())
            trust = min(ours / theirs, LONGEST) if ours > 0 and theirs > 0 else 1.0
        p.add_(update, alpha=-group["lr"] * trust)
