"""A running average of the weights, which is judged and kept in place of the weights themselves."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Average", "approach"]


class Average:
    """The exponential moving average of a network's weights and statistics (Polyak and Juditsky 1992; Tan and Le 2019).

    After t steps the decay is the smaller of `decay` and `(1 + t) / (10 + t)`, so that the start is soon forgotten.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.decay = decay
        self.net = copy.deepcopy(net).requires_grad_(False)

    @torch.no_grad()
    def follow(self, net: nn.Module, step: int) -> None:
        """Moves towards `net`, which has just taken its step number `step`, counted from 0."""
        approach(_tensors(self.net), _tensors(net), self.share(step))

    def share(self, step: int) -> float:
        """How far it moves in this step, 0..1."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @property
    def tensors(self) -> list[Tensor]:
        """Weights and buffers, and whatever else goes one step back with them."""
        return _tensors(self.net)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.net.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a checkpoint's."""
        self.net.load_state_dict(state)


@torch.no_grad()
def approach(mine: Iterable[Tensor], theirs: Iterable[Tensor], share: float) -> None:
    """Moves tensors this share of the way to others; whole numbers become theirs."""
    for own, other in zip(mine, theirs, strict=True):
        if own.is_floating_point():
            own.lerp_(other, share)
        else:
            own.copy_(other)


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]
