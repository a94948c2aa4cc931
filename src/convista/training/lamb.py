"""LAMB: AdamW's step, each layer's as long as its weights are large (You et al. 2019, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["Lamb"]

LONGEST = 10.0  # of the trust ratio


class Lamb(Optimizer):
    """The step is `lr * |w| / |r| * r` with `r = m / (sqrt(v) + eps) + weight_decay * w`, moments without bias.

    Groups without decay (norms and biases) take Adam's step as it is, as their sizes say nothing.
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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients that there are."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, group)
        return loss

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        grad, count = p.grad, float(state["step"])
        assert grad is not None
        state["exp_avg"].lerp_(grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        mean = state["exp_avg"] / (1 - beta1**count)
        update = mean / ((state["exp_avg_sq"] / (1 - beta2**count)).sqrt_() + group["eps"])
        update.add_(p, alpha=group["weight_decay"])
        trust = 1.0
        if group["weight_decay"]:
            ours, theirs = float(p.norm()), float(update.norm())
            trust = min(ours / theirs, LONGEST) if ours > 0 and theirs > 0 else 1.0
        p.add_(update, alpha=-group["lr"] * trust)
