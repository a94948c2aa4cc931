"""Joins of a table: in sequence (`Chain`) and by concatenation (`Branches`, `Dense`)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from convista.blocks.base import Block, DoesNotFitError, Reach, Size, block_from_json
from convista.blocks.running import Sequence
from convista.blocks.words import overwrite_input
from convista.errors import InputError

__all__ = ["Branches", "Chain", "Concat", "Dense", "stage"]


@dataclass(frozen=True, init=False, repr=False)
class Chain(Block):
    """Named blocks in sequence; rows that are None are left out.

    >>> from convista.blocks import Conv
    >>> Chain(conv1=Conv(6, 5), conv2=Conv(16, 5)).out(1)
    16
    """

    composite: ClassVar[bool] = True
    rows: tuple[tuple[str, Block], ...]

    def __init__(self, **rows: Block | None):
        object.__setattr__(self, "rows", tuple((name, row) for name, row in rows.items() if row is not None))

    def __call__(self, width: int) -> nn.Module:
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        owned = False  # what comes in may be needed elsewhere; what a row has made is ours alone
        for name, block in self.rows:
            modules[name], width = block(width), block.out(width)
            if owned:
                overwrite_input(modules[name])
            owned = block.overwritable()
        return Sequence(modules)

    def out(self, width: int) -> int:
        for _, block in self.rows:
            width = block.out(width)
        return width

    def reduction(self) -> int:
        return prod(block.reduction() for _, block in self.rows)

    def size(self, size: Size) -> Size:
        for name, block in self.rows:
            size = _size_within(name, block, size)
        return size

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        rows = []
        for name, block in self.rows:
            try:
                block, reach = block.dilated(reach)
            except DoesNotFitError as error:
                raise error.within(name) from None
            rows.append((name, block))
        return self.with_rows(tuple(rows)), reach

    def with_rows(self, rows: tuple[tuple[str, Block], ...]) -> Chain:
        """A join of the same kind with other rows."""
        clone = copy.copy(self)
        object.__setattr__(clone, "rows", rows)
        return clone

    def overwritable(self) -> bool:
        return bool(self.rows) and self.rows[-1][1].overwritable()

    def text(self) -> str:
        rows = ((block.text(), block.composite) for _, block in self.rows)
        runs = ((text, composite, sum(1 for _ in run)) for (text, composite), run in groupby(rows))
        return "; ".join(
            f"[{_bare(text)}] x {n}" if composite and n > 1 else "; ".join([text] * n) for text, composite, n in runs
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={block!r}' for name, block in self.rows)})"

    def to_json(self) -> dict[str, Any]:
        return {"block": type(self).__name__, "rows": {name: block.to_json() for name, block in self.rows}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Chain:
        return cls(**{name: block_from_json(row) for name, row in data["rows"].items()})


def stage(repeats: int, block: Callable[[int, int], Block], width: int, stride: int = 1) -> Chain:
    """A block repeated; the stride is the first one's: `block1`, `block2`, …"""
    return Chain(**{f"block{i + 1}": block(width, stride if i == 0 else 1) for i in range(repeats)})


def _bare(text: str) -> str:
    """The text without the brackets around the whole of it, if there are any."""
    depth = 0
    for i, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 and i else text
    return text


def _size_within(name: str, block: Block, size: Size) -> Size:
    try:
        return block.size(size)
    except DoesNotFitError as error:
        raise error.within(name) from None


class Concat(nn.Module):
    """Maps side by side, channel after channel, as a module of its own so that it has a name and can be looked at."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C_i, H, W) -> (N, sum of C_i, H, W)."""
        return torch.cat(maps, 1)


class Concatenation(nn.Module):
    """What `Branches` builds: each branch under its name, and `concat`."""

    def __init__(self, branches: OrderedDict[str, nn.Module]):
        super().__init__()
        self.branches = tuple(branches)
        for name, branch in branches.items():
            self.add_module(name, branch)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.concat(*(self._modules[name](x) for name in self.branches))  # type: ignore[misc,no-any-return]


@dataclass(frozen=True, init=False, repr=False)
class Branches(Chain):
    """Named blocks side by side, their maps concatenated (Szegedy et al. 2014, figure 2); None rows are left out.

    >>> from convista.blocks import Conv
    >>> Branches(a=Conv(8, 1), b=Conv(16, 3)).out(3)
    24
    """

    def __call__(self, width: int) -> nn.Module:
        if any(name in ("concat", "branches") for name, _ in self.rows):
            raise InputError("A branch cannot be named 'concat' or 'branches': these names are the join's own.")
        return Concatenation(OrderedDict((name, block(width)) for name, block in self.rows))

    def out(self, width: int) -> int:
        return sum(block.out(width) for _, block in self.rows)

    def reduction(self) -> int:
        return max(block.reduction() for _, block in self.rows)

    def size(self, size: Size) -> Size:
        sizes = {name: _size_within(name, block, size) for name, block in self.rows}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
            raise DoesNotFitError(f"the branches make maps of different sizes ({said})")
        return next(iter(sizes.values()))

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        made = [(name, *block.dilated(reach)) for name, block in self.rows]
        return self.with_rows(tuple((name, block) for name, block, _ in made)), made[0][2]

    def overwritable(self) -> bool:
        return True

    def text(self) -> str:
        return " | ".join(block.text() for _, block in self.rows)


class Growth(nn.Module):
    """What `Dense` builds: the body's children, and `concat`."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.path = tuple(name for name, _ in body.named_children())
        for name, child in body.named_children():
            self.add_module(name, child)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + growth, H, W)."""
        y = x
        for name in self.path:
            y = self._modules[name](y)  # type: ignore[misc]
        return self.concat(x, y)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Dense(Block):
    """The input, and behind it what the body makes of it (Huang et al. 2016, equation 2).

    (N, C, H, W) -> (N, C + growth, H, W).

    >>> from convista.blocks import Conv
    >>> Dense(Chain(conv=Conv(12, 3))).out(16)
    28
    """

    composite: ClassVar[bool] = True
    body: Chain

    def __call__(self, width: int) -> nn.Module:
        return Growth(self.body(width))

    def out(self, width: int) -> int:
        return width + self.body.out(width)

    def size(self, size: Size) -> Size:
        if self.body.size(size) != size:
            raise DoesNotFitError("the body of a dense connection must keep the size of its map")
        return size

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        body, reach = self.body.dilated(reach)
        return replace(self, body=body), reach  # type: ignore[arg-type]

    def text(self) -> str:
        return f"[{self.body.text()}]"
