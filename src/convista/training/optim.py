"""Optimisers and the learning rate's course."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from convista.records import Recipe

__all__ = ["default_lr", "learning_rate", "make_optimizer", "with_defaults"]

WEIGHT_DECAY = {"adamw": 0.05, "nesterov": 5e-4}


def default_lr(recipe: Recipe) -> float:
    """The peak learning rate when none is given: linear in the batch for Nesterov, by its root for AdamW."""
    return 0.1 * recipe.batch / 128 if recipe.optimizer == "nesterov" else 2e-3 * math.sqrt(recipe.batch / 64)


def with_defaults(recipe: Recipe) -> Recipe:
    """The recipe with the rate and the decay that fit its optimiser, where it leaves them open."""
    return recipe.with_(
        lr=default_lr(recipe) if recipe.lr is None else recipe.lr,
        weight_decay=WEIGHT_DECAY[recipe.optimizer] if recipe.weight_decay is None else recipe.weight_decay,
    )


def make_optimizer(net: nn.Module, recipe: Recipe) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.9; weights decay, norms and biases (one-dimensional) do not."""
    decay = float(with_defaults(recipe).weight_decay or 0.0)
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in net.parameters())
    if recipe.optimizer == "nesterov":
        return SGD(groups, lr=0.1, momentum=0.9, nesterov=True, fused=fused)
    return AdamW(groups, lr=1e-3, fused=fused)


def learning_rate(step: int, steps: int, warmup: int) -> float:
    """The share of the peak rate at a step: linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2016).

    >>> [round(learning_rate(s, 11, 1), 2) for s in (0, 1, 6, 11)]
    [1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
