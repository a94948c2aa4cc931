"""The initial weights of a run, by the recipe's words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convista.blocks import Spec, zero_last
from convista.data import Normalise, Pictures, eval_view, global_batches
from convista.recipe import Recipe
from convista.records import View
from convista.training import first_convolution, initialise

__all__ = ["check_start", "write_start"]


def check_start(table: Spec, recipe: Recipe) -> None:
    """Raises `InputError` where the network cannot start as the recipe says, before anything is written."""
    if recipe.zero_last:
        zero_last(table.layers[-1].module)  # which has shapes only
    if recipe.whiten:
        first_convolution(table.layers[-1].module)


def write_start(net: nn.Module, recipe: Recipe, pictures: Pictures, view: View, device: torch.device) -> None:
    """The recipe's initial weights, times its `init_scale`; LSUV looks at the first global batch, the same for all."""

    def first_batch() -> Tensor:
        net.to(device)
        first = global_batches(len(pictures), recipe.batch, recipe.seed, 0)[0]
        return Normalise.of(view, device)(eval_view(pictures, first, view)[0].to(device))

    initialise(net, recipe, first_batch)
