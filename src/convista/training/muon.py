"""Muon: momentum whose matrix is made orthogonal (Jordan et al. 2024), for filters and for what is beside them.

A filter (out, in, k, k) counts as the matrix (out, in * k * k). Everything else takes AdamW's step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from convista.training.moments import OneByOne, adam

__all__ = ["Muon", "orthogonal"]

# A quintic iteration that brings singular values between about 0.7 and 1.2 in five steps.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5


def orthogonal(matrix: Tensor, steps: int = STEPS) -> Tensor:
    """The nearest matrix (rows, columns) whose singular values are all about 1; (m, n) -> (m, n).

    >>> found = orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.5])))
    >>> bool(((0.6 < found.diag()) & (found.diag() < 1.3)).all())
    True
    """
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(steps):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return x if wide else x.T


class Muon(OneByOne):
    """Groups with `matrix=True` are filters: Nesterov momentum, made orthogonal; the others are for AdamW.

    The step of a filter is longer by `sqrt(max(1, rows / columns))`, so that outputs change alike whatever the shape;
    weights shrink by `lr * weight_decay`.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0):
        words = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "matrix": False}
        super().__init__(params, words | {"betas": (0.9, 0.95), "eps": 1e-8})

    def move(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """The step of one tensor, by its kind."""
        p.mul_(1 - group["lr"] * group["weight_decay"])
        if group["matrix"]:
            self._turn(p, grad, group)
        else:
            p.add_(adam(self.state[p], grad, group["betas"], group["eps"]), alpha=-group["lr"])

    def _turn(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer = state["momentum_buffer"]
        buffer.lerp_(grad, 1 - group["momentum"])
        update = grad.lerp(buffer, group["momentum"]).flatten(1)
        longer = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
        p.add_(orthogonal(update).view_as(p), alpha=-group["lr"] * longer)
