"""One step back: what a network and its optimiser were before the last step that was taken."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Undo"]


class Undo:
    """Copies of the weights, statistics, optimiser's memory and what is `beside` them.

    They are from before the step at hand and from before the one before it.

    A step proves good when the loss after it is a number. Until then `back` must lead to before it.
    """

    def __init__(self, net: nn.Module, optimizer: Optimizer, beside: Sequence[Tensor] = ()):
        self.net, self.optimizer, self.beside = net, optimizer, beside
        self.before: list[Tensor] = []
        self.earlier: list[Tensor] | None = None

    @torch.no_grad()
    def note(self) -> None:
        """Copies what there is now, into memory that is already there where the shapes allow."""
        now = self._live()
        if len(self.before) != len(now):
            self.before = [tensor.clone() for tensor in now]
        _copy(now, self.before)

    @torch.no_grad()
    def again(self) -> None:
        """To before the step at hand, none of which was taken yet."""
        _copy(self.before, self._live())

    def accept(self) -> None:
        """The step at hand was taken: what was noted is now one step back."""
        self.before, self.earlier = self.earlier or [], self.before

    def forget(self) -> None:
        """What there is now counts as good."""
        self.earlier = None

    @torch.no_grad()
    def back(self) -> None:
        """To before the last step that was taken; where none is remembered, to before the step at hand."""
        copies = self.before if self.earlier is None else self.earlier
        tensors = self._live()
        if len(copies) < len(tensors):  # before a weight's first step the optimiser remembered nothing of it
            self.optimizer.state.clear()
            tensors = self._live()
        _copy(copies[: len(tensors)], tensors[: len(copies)])
        self.earlier = None

    def _live(self) -> list[Tensor]:
        memory = [value for p in self.net.parameters() for value in self.optimizer.state.get(p, {}).values()]
        weights = [*self.net.parameters(), *self.net.buffers(), *self.beside]
        return [*weights, *(value for value in memory if isinstance(value, Tensor))]


def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """Numbers with and without a fraction apart: together a GPU would copy one tensor after another."""
    for fraction in (True, False):
        pairs = [pair for pair in zip(sources, targets, strict=True) if pair[0].is_floating_point() == fraction]
        if pairs:
            torch._foreach_copy_([target for _, target in pairs], [source for source, _ in pairs])
