"""What our own optimisers share: they go through tensors one by one, and some keep Adam's moments of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["OneByOne", "adam"]


class OneByOne(Optimizer):
    """An optimiser that moves one tensor after another."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step on the gradients that there are."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, p.grad, group)
        return loss

    def move(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """The step of one tensor."""
        raise NotImplementedError


def adam(state: dict[str, Any], grad: Tensor, betas: tuple[float, float], eps: float) -> Tensor:
    """Adam's update `m / (sqrt(v) + eps)` from moments without bias (Kingma and Ba 2014), which are kept in `state`."""
    beta1, beta2 = betas
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
    state["step"] += 1
    count = float(state["step"])
    state["exp_avg"].lerp_(grad, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    deviation = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt_().add_(eps)
    mean: Tensor = state["exp_avg"] / (1 - beta1**count)
    return mean.div_(deviation)
