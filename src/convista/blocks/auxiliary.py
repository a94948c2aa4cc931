"""Heads on the side of a network: early answers, and a loss that reaches the early layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from convista.blocks.base import Block, Reach, Size
from convista.blocks.joins import Chain

__all__ = ["Auxiliary"]


class Exit(nn.Module):
    """What `Auxiliary` builds: its input passes through untouched; `answer` gives the early logits."""

    def __init__(self, head: nn.Module, weight: float):
        super().__init__()
        self.weight = weight
        for name, child in head.named_children():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same map."""
        return x

    def answer(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes) logits."""
        for child in self.children():
            x = child(x)
        return x


@dataclass(frozen=True)
class Auxiliary(Block):
    """A head on the side, whose loss counts `weight` while training (Szegedy et al. 2014, section 5).

    The map passes through unchanged; `net(x, answers=True)` returns the head's logits beside the network's own.
    """

    a_map: ClassVar[bool] = False
    head: Chain
    weight: float = 0.3

    def __call__(self, width: int) -> nn.Module:
        return Exit(self.head(width), self.weight)

    def size(self, size: Size) -> Size:
        self.head.size(size)
        return size

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        if reach.dilation == 1:
            return self, reach
        head, _ = self.head.dilated(Reach(limit=1 << 20, dilation=reach.dilation))  # its own strides stay
        return replace(self, head=head), reach  # type: ignore[arg-type]

    def overwritable(self) -> bool:
        return False

    def text(self) -> str:
        return f"auxiliary head: {self.head.text()}"
