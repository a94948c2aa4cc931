"""The joins of a table: in sequence (`Chain`) and by addition (`Residual`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import Block, block_from_json
from convista.blocks.words import Act, Conv
from convista.errors import InputError

__all__ = ["Add", "Chain", "Residual", "SubsampleAndPad", "stage"]


@dataclass(frozen=True, init=False, repr=False)
class Chain(Block):
    """Named blocks in sequence; rows that are None are left out.

    >>> Chain(conv1=Conv(6, 5), conv2=Conv(16, 5)).out(1)
    16
    """

    rows: tuple[tuple[str, Block], ...]

    def __init__(self, **rows: Block | None):
        object.__setattr__(self, "rows", tuple((name, row) for name, row in rows.items() if row is not None))

    def __call__(self, width: int) -> nn.Sequential:
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        for name, block in self.rows:
            modules[name], width = block(width), block.out(width)
        return nn.Sequential(modules)

    def out(self, width: int) -> int:
        for _, block in self.rows:
            width = block.out(width)
        return width

    def reduction(self) -> int:
        return prod(block.reduction() for _, block in self.rows)

    def text(self) -> str:
        rows = ((block.text(), isinstance(block, Chain | Residual)) for _, block in self.rows)
        runs = ((text, composite, sum(1 for _ in run)) for (text, composite), run in groupby(rows))
        return "; ".join(
            f"[{text.strip('[]')}] x {n}" if composite and n > 1 else "; ".join([text] * n)
            for text, composite, n in runs
        )

    def __repr__(self) -> str:
        return f"Chain({', '.join(f'{name}={block!r}' for name, block in self.rows)})"

    def to_json(self) -> dict[str, Any]:
        return {"block": "Chain", "rows": {name: block.to_json() for name, block in self.rows}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Chain:
        return cls(**{name: block_from_json(row) for name, row in data["rows"].items()})


def stage(repeats: int, block: Callable[[int, int], Block], width: int, stride: int = 1) -> Chain:
    """A block repeated; the stride is the first one's: `block1`, `block2`, …"""
    return Chain(**{f"block{i + 1}": block(width, stride if i == 0 else 1) for i in range(repeats)})


class Add(nn.Module):
    """The sum of two maps, as a module of its own so that it has a name and can be looked at."""

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Two maps (N, C, H, W) -> (N, C, H, W)."""
        return x + shortcut


class SubsampleAndPad(nn.Module):
    """Option A of He et al. 2015, section 3.3: every `stride`-th position, the new channels zero on both sides.

    (N, C, H, W) -> (N, C + before + after, H / stride, W / stride), without a parameter.
    """

    def __init__(self, stride: int, extra: int):
        super().__init__()
        self.stride, self.before, self.after = stride, extra // 2, extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + before + after, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class ResidualSum(nn.Module):
    """What `Residual` builds: the body's children, `shortcut`, `add`, and `act` where there is one."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module, act: nn.Module | None):
        super().__init__()
        self.path = tuple(name for name, _ in body.named_children())
        for name, child in body.named_children():
            self.add_module(name, child)
        self.shortcut, self.add, self.act = shortcut, Add(), act

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        y = x
        for name in self.path:
            y = self._modules[name](y)  # type: ignore[misc]
        y = self.add(y, self.shortcut(x))
        return y if self.act is None else self.act(y)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Residual(Block):
    """`act(body(x) + shortcut(x))` (He et al. 2015, equations 1 and 2). (N, C, H, W) -> (N, C', H', W').

    The shortcut is the identity where the shapes allow it. Where they do not, `shortcut` decides: `"project"` is a
    1x1 convolution (option B), `"pad"` subsamples and pads with zeros (option A), `"none"` leaves body and no sum.
    """

    body: Chain
    shortcut: str = "project"
    act: str | None = "relu"

    def __call__(self, width: int) -> nn.Module:
        taken = {"shortcut", "add", "act", "path"} & {name for name, _ in self.body.rows}
        if taken:
            raise InputError(f"A residual body cannot have a row named '{min(taken)}': that name is the join's own.")
        body, act = self.body(width), Act(self.act)(self.out(width)) if self.act else None
        if self.out(width) == width and self.reduction() == 1:
            return ResidualSum(body, nn.Identity(), act)
        if self.shortcut == "none":
            if act is not None:
                body.add_module("act", act)
            return body
        return ResidualSum(body, self._shortcut(width), act)

    def _shortcut(self, width: int) -> nn.Module:
        out, stride = self.out(width), self.reduction()
        if self.shortcut == "project":
            return Conv(out, 1, stride, act=None)(width)
        if self.shortcut == "pad" and out >= width:
            return SubsampleAndPad(stride, out - width)
        raise InputError(f"A shortcut '{self.shortcut}' cannot lead from {width} to {out} channels; use 'project'.")

    def out(self, width: int) -> int:
        return self.body.out(width)

    def reduction(self) -> int:
        return self.body.reduction()

    def text(self) -> str:
        return f"[{self.body.text()}]"
