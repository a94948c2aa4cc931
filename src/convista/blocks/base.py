"""What every block is: frozen data that builds a module when it is told its input width.

A paper's table prints output widths and never input widths, so no block asks for one. `Conv(64, 3)` is a row
of the table; `Conv(64, 3)(32)` is the `nn.Module` of that row behind 32 channels.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

from torch import nn

from convista.errors import InputError

__all__ = ["IN", "Block", "DoesNotFitError", "In", "Reach", "Side", "Size", "Width", "block_from_json"]

Side = int | tuple[int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class In:
    """A width relative to the block's own input: `6 * IN` is six times as wide.

    >>> (6 * IN).of(24)
    144
    """

    times: float = 1

    def __rmul__(self, factor: float) -> In:
        return In(self.times * factor)

    def __truediv__(self, divisor: float) -> In:
        return In(self.times / divisor)

    def of(self, width: int) -> int:
        """The absolute width behind `width` input channels."""
        return round(self.times * width)

    def __str__(self) -> str:
        return "in" if self.times == 1 else f"{Fraction(self.times).limit_denominator(999)} x in"


IN = In()
Width = int | In


def absolute(width: Width, into: int) -> int:
    """`width` behind `into` input channels, as a number."""
    return width.of(into) if isinstance(width, In) else width


class DoesNotFitError(InputError):
    """A map is too small for a window, or two maps do not fit together; `row` is the row's dotted name."""

    def __init__(self, reason: str, row: str = ""):
        super().__init__(f"at {row} {reason}" if row else reason)
        self.reason, self.row = reason, row

    def within(self, row: str) -> DoesNotFitError:
        """The same, seen from the table that holds `row`."""
        return DoesNotFitError(self.reason, f"{row}.{self.row}" if self.row else row)


class Reach(NamedTuple):
    """How far a table has been walked when strides give way to dilation: what is behind, and the limit."""

    limit: int
    stride: int = 1
    dilation: int = 1

    def step(self, stride: int) -> tuple[int, Reach]:
        """The stride that is left of `stride`, and the reach behind it."""
        if self.stride * stride <= self.limit:
            return stride, self._replace(stride=self.stride * stride)
        return 1, self._replace(dilation=self.dilation * stride)


class Block(ABC):
    """A row, or a part of a row, of a network's table."""

    kinds: ClassVar[dict[str, type[Block]]] = {}
    composite: ClassVar[bool] = False  # whether a table prints it in brackets, with a count of its repeats
    a_map: ClassVar[bool] = True  # whether what it puts out is a map of features of its own

    def __init_subclass__(cls) -> None:
        Block.kinds[cls.__name__] = cls

    @abstractmethod
    def __call__(self, width: int) -> nn.Module:
        """The module behind `width` input channels."""

    def out(self, width: int) -> int:
        """Output channels behind `width` input channels."""
        return width

    def reduction(self) -> int:
        """The factor by which the block shrinks height and width: the product of its strides."""
        return 1

    def overwritable(self) -> bool:
        """Whether what it puts out may be overwritten by what comes behind: new, and not needed by its own backward."""
        return True

    def size(self, size: Size) -> Size:
        """Height and width of the map behind a map of `size`, exactly. Raises `DoesNotFitError`."""
        return size

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        """The block with dilation in place of the strides that go beyond `reach.limit`, and the reach behind it."""
        stride, behind = reach.step(self.reduction())
        if stride != self.reduction():
            raise DoesNotFitError(f"{self.text()} has no dilated form")
        return self, behind

    def map(self, change: Callable[[Block], Block | None]) -> Block | None:
        """The block with `change` applied to every block in it and then to itself; None leaves a row out."""
        clone = copy.copy(self)
        for f in fields(self):  # type: ignore[arg-type]
            object.__setattr__(clone, f.name, _mapped(getattr(self, f.name), change))
        return change(clone)

    @abstractmethod
    def text(self) -> str:
        """The row as a paper prints it, its stride left out."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the defaults left out; `block_from_json` reads it back."""
        data: dict[str, Any] = {"block": type(self).__name__}
        for f in fields(self):  # type: ignore[arg-type]  # every concrete block is a dataclass
            value = getattr(self, f.name)
            if f.default is MISSING or value != f.default:
                data[f.name] = _to_json(value)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Block:
        """The block that `to_json` wrote."""
        return cls(**{key: _from_json(value) for key, value in data.items() if key != "block"})


def block_from_json(data: dict[str, Any]) -> Block:
    """The block that `Block.to_json` wrote, of whichever kind."""
    kind = Block.kinds.get(str(data.get("block")))
    if kind is None:
        raise InputError(f"There is no block of kind '{data.get('block')}'; known: {', '.join(sorted(Block.kinds))}.")
    if kind.__name__ == "Dense" and "width" in data:  # what version 0.1 called a fully connected layer
        kind = Block.kinds["Linear"]
    try:
        return kind.from_json(data)
    except TypeError as error:
        raise InputError(f"This is not a {kind.__name__}: {data}. {error}") from None


def _mapped(value: Any, change: Callable[[Block], Block | None]) -> Any:
    if isinstance(value, Block):
        return value.map(change)
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):  # the named rows of a join
        return tuple(new for new in (_mapped_row(row, change) for row in value) if new is not None)
    return value


def _mapped_row(row: Any, change: Callable[[Block], Block | None]) -> Any:
    if len(row) == 2 and isinstance(row[1], Block):
        block = row[1].map(change)
        return None if block is None else (row[0], block)
    return row


def _to_json(value: object) -> object:
    if isinstance(value, Block):
        return value.to_json()
    if isinstance(value, In):
        return {"in": value.times}
    return [_to_json(v) for v in value] if isinstance(value, tuple) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return In(value["in"]) if "in" in value else block_from_json(value)
    return tuple(_from_json(v) for v in value) if isinstance(value, list) else value
