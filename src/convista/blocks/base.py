"""What every block is: frozen data that builds a module when it is told its input width.

A paper's table prints output widths and never input widths, so no block asks for one. `Conv(64, 3)` is a row
of the table; `Conv(64, 3)(32)` is the `nn.Module` of that row behind 32 channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from torch import nn

from convista.errors import InputError

__all__ = ["IN", "Block", "In", "Width", "block_from_json"]


@dataclass(frozen=True)
class In:
    """A width relative to the block's own input: `6 * IN` is six times as wide.

    >>> (6 * IN).of(24)
    144
    """

    times: float = 1

    def __rmul__(self, factor: float) -> In:
        return In(self.times * factor)

    def of(self, width: int) -> int:
        """The absolute width behind `width` input channels."""
        return round(self.times * width)

    def __str__(self) -> str:
        return "in" if self.times == 1 else f"{self.times:g} x in"


IN = In()
Width = int | In


def absolute(width: Width, into: int) -> int:
    """`width` behind `into` input channels, as a number."""
    return width.of(into) if isinstance(width, In) else width


class Block(ABC):
    """A row, or a part of a row, of a network's table."""

    kinds: ClassVar[dict[str, type[Block]]] = {}

    def __init_subclass__(cls) -> None:
        Block.kinds[cls.__name__] = cls

    @abstractmethod
    def __call__(self, width: int) -> nn.Module:
        """The module behind `width` input channels."""

    def out(self, width: int) -> int:
        """Output channels behind `width` input channels."""
        return width

    def reduction(self) -> int:
        """The factor by which the block shrinks height and width."""
        return 1

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
    try:
        return kind.from_json(data)
    except TypeError as error:
        raise InputError(f"This is not a {kind.__name__}: {data}. {error}") from None


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
