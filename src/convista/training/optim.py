"""Optimisers by name, with the learning rate and the decay that fit each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from convista.recipe import Recipe
from convista.registry import Registry
from convista.training.lamb import Lamb
from convista.training.muon import Muon
from convista.training.stages import slower

__all__ = ["OPTIMIZERS", "default_lr", "make_optimizer", "with_defaults"]


@dataclass(frozen=True)
class Kind:
    """How an optimiser is made; its peak rate for a batch of 64, which grows with the batch or its root; its decay."""

    make: Callable[..., Optimizer]
    lr: float
    linear: bool
    decay: float
    fused: bool = True  # whether torch has it in one kernel


OPTIMIZERS: Registry[Kind] = Registry(
    "optimizer",
    adam=Kind(Adam, 1e-3, False, 1e-5),
    adamw=Kind(AdamW, 2e-3, False, 0.05),
    lamb=Kind(Lamb, 4e-3, False, 0.05, fused=False),
    momentum=Kind(partial(SGD, momentum=0.9), 0.05, True, 5e-4),
    muon=Kind(Muon, 0.02, False, 0.01, fused=False),
    nesterov=Kind(partial(SGD, momentum=0.9, nesterov=True), 0.05, True, 5e-4),
    rmsprop=Kind(partial(RMSprop, alpha=0.9), 1e-3, False, 1e-5, fused=False),
    sgd=Kind(SGD, 0.3, True, 5e-4),
)
BESIDE = 0.1  # of Muon's rate goes to what is no filter


def default_lr(recipe: Recipe) -> float:
    """The peak learning rate when none is given: linear in the batch for SGD's kind, by its root for the others."""
    kind = OPTIMIZERS[recipe.optimizer]
    return kind.lr * (recipe.batch / 64 if kind.linear else math.sqrt(recipe.batch / 64))


def with_defaults(recipe: Recipe) -> Recipe:
    """The recipe with the rate and the decay that fit its optimiser, where it leaves them open."""
    decay = OPTIMIZERS[recipe.optimizer].decay
    return recipe.with_(
        lr=default_lr(recipe) if recipe.lr is None else recipe.lr,
        weight_decay=decay if recipe.weight_decay is None else recipe.weight_decay,
    )


def make_optimizer(net: nn.Module, recipe: Recipe) -> Optimizer:
    """The optimiser that the recipe names; weights decay, norms and biases (one-dimensional) do not.

    A group's rate is the run's times its `lr_scale`, where it has one.
    """
    kind, decay = OPTIMIZERS[recipe.optimizer], float(with_defaults(recipe).weight_decay or 0.0)
    params = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "muon":
        groups = _filters_apart(groups, next((p for p in net.parameters() if p.ndim == 4), None))
    if recipe.lr_decay_per_stage is not None:
        groups = slower(net, groups, recipe.lr_decay_per_stage)
    able = all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in params)
    return kind.make(groups, lr=kind.lr, **({"fused": able} if kind.fused else {}))


def _filters_apart(groups: list[dict[str, Any]], first: nn.Parameter | None) -> list[dict[str, Any]]:
    """Filters over several maps, but for the `first`, which see colours; the rest at a smaller rate."""
    weights, others = groups
    filters = [p for p in weights["params"] if p.ndim == 4 and p is not first and p.shape[1] > 1]
    chosen = {id(p) for p in filters}
    rest = [p for p in weights["params"] if id(p) not in chosen]
    return [
        {**weights, "params": filters, "matrix": True},
        {**weights, "params": rest, "lr_scale": BESIDE},
        {**others, "lr_scale": BESIDE},
    ]
