"""`Spec`, a whole network as data, and `Net`, the module it builds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from convista.blocks.init import INITIALISERS
from convista.blocks.joins import Chain
from convista.blocks.names import LayerShape, layers, shapes
from convista.errors import InputError

__all__ = ["Net", "Spec"]


@dataclass(frozen=True)
class Spec:
    """A network as its paper's table: named rows, and the picture they expect.

    `spec()` builds the module, `print(spec)` prints the table with shapes, `to_json` and `from_json` carry it.
    `image` is the side of the square picture in pixels, `channels` its colours.
    """

    name: str
    table: Chain
    channels: int = 3
    image: int = 224
    init: str = field(default="he", kw_only=True)

    def __call__(self) -> Net:
        """The module, freshly initialised from torch's generator; under `torch.device("meta")` only its shapes."""
        net = Net(self)
        INITIALISERS[self.init](net)
        return net

    @property
    def classes(self) -> int:
        """Width of the logits."""
        return self.table.out(self.channels)

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer with its shapes, found on the meta device. Raises `InputError` if `image` cannot pass."""
        return _layers(self)

    def at(self, image: int) -> Spec:
        """The same table for pictures of another size. Raises `InputError` if they cannot pass through it."""
        spec = replace(self, image=image)
        _ = spec.layers
        return spec

    def __str__(self) -> str:
        sizes = {layer.name: layer.shape_out for layer in self.layers}
        rows = [("row", "output", "layers"), ("input", _size((self.channels, self.image, self.image)), "")]
        for name, block in self.table.rows:
            stride = f", stride {block.reduction()}" if block.reduction() > 1 else ""
            rows.append((name, _size(sizes[name]), block.text() + stride))
        left, middle = (max(len(row[i]) for row in rows) for i in (0, 1))
        lines = [f"{a:<{left}}  {b:<{middle}}  {c}".rstrip() for a, b, c in rows]
        parameters = sum(p.numel() for p in self.layers[-1].module.parameters())
        return "\n".join([self.name, *lines, f"{parameters:,} parameters"])

    def to_json(self) -> str:
        """The spec as JSON text."""
        head = {"name": self.name, "channels": self.channels, "image": self.image, "init": self.init}
        return json.dumps(head | {"table": self.table.to_json()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """The spec that `to_json` wrote. Raises `InputError` when the text is not one."""
        try:
            data: dict[str, Any] = json.loads(text)
            return cls(table=Chain.from_json(data.pop("table")), **data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"This is not a network's table in JSON: {error!r}.") from None


class Net(nn.Module):
    """A network built from its table: the table's rows are its children, `spec` is the table.

    (N, channels, H, W) -> (N, classes) logits.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        for name, row in spec.table(spec.channels).named_children():
            self.add_module(name, row)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, classes) logits."""
        for row in self.children():
            x = row(x)
        return x

    def layers(self, pattern: str = "*") -> dict[str, nn.Module]:
        """The modules whose name matches the glob: `net.layers("conv4_x.*.act")`."""
        return layers(self, pattern)


@lru_cache(maxsize=64)
def _layers(spec: Spec) -> tuple[LayerShape, ...]:
    with torch.device("meta"):
        net = Net(spec)
    try:
        return tuple(shapes(net, (spec.channels, spec.image, spec.image)))
    except RuntimeError as error:
        raise InputError(
            f"{spec.name} cannot take pictures of {spec.image}x{spec.image} pixels "
            f"({str(error).splitlines()[0]}). Choose another image size."
        ) from None


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
