"""`Spec`, a whole network as data, and `Net`, the module it builds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import dropwhile
from typing import Any

import torch
from torch import Tensor, nn

from convista.blocks.base import DoesNotFitError, Size
from convista.blocks.changes import (
    auxiliary_heads,
    dilate,
    pad_same,
    padding_of,
    set_dropout,
    set_norm,
    stochastic_depth,
    without_auxiliary,
)
from convista.blocks.init import INITIALISERS
from convista.blocks.joins import Chain
from convista.blocks.names import LayerShape, capture, layers, shapes
from convista.blocks.running import recompute
from convista.errors import InputError

__all__ = ["Level", "Net", "Spec"]


@dataclass(frozen=True)
class Level:
    """The deepest row whose map is `stride` times smaller than the picture, and its width in channels."""

    name: str
    stride: int
    width: int


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
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The table's rows: name and text."""
        return tuple((name, block.text()) for name, block in self.table.rows)

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer with its shapes, found on the meta device. Raises `InputError` if `image` cannot pass."""
        return _layers(self)

    @property
    def smallest(self) -> int:
        """The side of the smallest square picture that can pass, in pixels."""
        return _smallest(self)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The rows to take features from: for each stride the deepest row that has it, before the head."""
        return _levels(self)

    @property
    def flattened(self) -> tuple[int, int] | None:
        """(channels, side) of the map that is flattened to a vector of all its positions, where there is one."""
        width = self.channels
        for _, block in self.table.rows:
            side = getattr(block, "side", 1)
            if side > 1 and not block.a_map:
                return width, side
            width = block.out(width)
        return None

    @property
    def padding(self) -> str | None:
        """`"same"` or `"zeros"` where the whole table has TensorFlow's padding, None elsewhere."""
        return padding_of(self.table)

    def check(self, size: Size) -> None:
        """Raises `InputError` when a picture of this height and width cannot pass, saying where and what can."""
        try:
            self.table.size(size)
        except DoesNotFitError as error:
            raise InputError(
                f"{self.name} cannot take pictures of {size[0]}x{size[1]} pixels: {error}. "
                f"The smallest picture that it can take is {self.smallest}x{self.smallest}."
            ) from None

    def at(self, image: int) -> Spec:
        """The same table for pictures of another size. Raises `InputError` if they cannot pass through it."""
        self.check((image, image))
        return replace(self, image=image)

    def dilated(self, output_stride: int) -> Spec:
        """The same weights, but maps that shrink by `output_stride` only: the later strides become dilation."""
        return self._changed(dilate, output_stride)

    def with_stochastic_depth(self, rate: float) -> Spec:
        """The same network, whose residual blocks are dropped while training, the last one with probability `rate`."""
        return self._changed(stochastic_depth, rate)

    def with_dropout(self, probability: float) -> Spec:
        """The same network with this dropout wherever it has some, and before its classifier."""
        return self._changed(set_dropout, probability)

    def with_norm(self, eps: float, momentum: float | None = None) -> Spec:
        """The same network with other constants of batch normalisation; its own `momentum` where None."""
        return self._changed(set_norm, eps, momentum)

    def padded_same(self, zeros: bool = False) -> Spec:
        """The same weights with TensorFlow's "same" padding; with `zeros` it counts as zero in a cell's maximum."""
        return self._changed(pad_same, zeros)

    def without_auxiliary(self) -> Spec:
        """The same network without its auxiliary heads."""
        return self._changed(without_auxiliary)

    @property
    def auxiliary(self) -> dict[str, float]:
        """The auxiliary heads by name, with the weight of their loss."""
        return auxiliary_heads(self.table)

    def _changed(self, change: Any, *how: Any) -> Spec:
        try:
            return replace(self, table=change(self.table, *how))
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

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

    (N, channels, H, W) -> (N, classes) logits. With `checkpointing` set, training keeps little of what lies between
    the rows and computes it a second time in the backward pass: less memory, more time, the same result. With
    `first_row` set to a row's name it begins there, with what the row before puts out.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        self.weights: Any = None  # the report of the last import of weights
        self.preprocessing: Any = None  # what they expect of a picture
        self.first_row = ""
        self._fits: set[Size] = set()
        self._checkpointing = False
        for name, row in spec.table(spec.channels).named_children():
            if hasattr(self, name):
                raise InputError(f"A row cannot be named '{name}': a network has something else of that name.")
            self.add_module(name, row)

    def forward(self, x: Tensor, answers: bool = False) -> Any:
        """(N, channels, H, W) -> (N, classes) logits.

        With `answers`, a dict: the logits of each auxiliary head by its row's name, and the network's own as the last
        entry. Raises `InputError` for maps of the wrong shape.
        """
        if not torch.compiler.is_compiling() and not self.first_row:
            self._check(x)
        early, name = {}, ""
        for name, row in self._passed():
            answer = getattr(row, "answer", None)
            if answers and answer is not None:
                early[name] = answer(x)
            elif self._checkpointing and self.training and not hasattr(row, "checkpointing"):
                x = recompute(row, x)
            else:
                x = row(x)
        return early | {name: x} if answers else x

    def _passed(self) -> Iterator[tuple[str, nn.Module]]:
        """The rows that the forward pass goes through."""
        rows = self.named_children()
        return dropwhile(lambda row: row[0] != self.first_row, rows) if self.first_row else rows

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.spec.channels:
            raise InputError(
                f"{self.spec.name} expects pictures (N, {self.spec.channels}, H, W); got {tuple(x.shape)}. "
                "For another number of channels there is create(…, channels=…)."
            )
        size = (x.shape[2], x.shape[3])
        if size not in self._fits:
            self.spec.check(size)
            self._fits.add(size)

    @property
    def checkpointing(self) -> bool:
        """Whether training computes what lies between the rows a second time instead of keeping it."""
        return self._checkpointing

    @checkpointing.setter
    def checkpointing(self, on: bool) -> None:
        self._checkpointing = on
        for row in self.children():
            if hasattr(row, "checkpointing"):
                setattr(row, "checkpointing", on)  # noqa: B010  # torch's types know no such attribute

    def layers(self, pattern: str = "*") -> dict[str, nn.Module]:
        """The modules whose name matches the glob: `net.layers("conv4_x.*.act")`."""
        return layers(self, pattern)

    def features(self, x: Tensor, at: Sequence[str | int] | str | int | None = None) -> dict[str | int, Tensor]:
        """The maps (N, C, H, W) at strides or at layers, by stride or name; at all `spec.levels` where None.

        >>> from convista.models import create
        >>> maps = create("resnet18").features(torch.zeros(1, 3, 64, 64), [8, "conv5_x.block1"])
        >>> {key: tuple(value.shape) for key, value in maps.items()}
        {8: (1, 128, 8, 8), 'conv5_x.block1': (1, 512, 2, 2)}

        Raises `InputError` for a stride that the network does not have and for an unknown layer.
        """
        at = [at] if isinstance(at, int | str) else at
        strides = {level.stride: level.name for level in self.spec.levels}
        wanted: dict[str | int, str] = {}
        for key in strides if at is None else at:
            if isinstance(key, int) and key not in strides:
                known = ", ".join(map(str, strides))
                raise InputError(f"{self.spec.name} has no map of stride {key}; its strides are {known}.")
            wanted[key] = strides[key] if isinstance(key, int) else key
        return capture(self, x, wanted)


@lru_cache(maxsize=64)
def _layers(spec: Spec) -> tuple[LayerShape, ...]:
    spec.check((spec.image, spec.image))
    with torch.device("meta"):
        net = Net(spec)
    return tuple(shapes(net, (spec.channels, spec.image, spec.image)))


@lru_cache(maxsize=256)
def _smallest(spec: Spec) -> int:
    low, high = 1, 1024  # a picture of `high` passes
    while low < high:
        middle = (low + high) // 2
        try:
            spec.table.size((middle, middle))
            high = middle
        except DoesNotFitError:
            low = middle + 1
    return low


@lru_cache(maxsize=256)
def _levels(spec: Spec) -> tuple[Level, ...]:
    found: dict[int, Level] = {}
    stride, width = 1, spec.channels
    for name, block in _stops(spec.table):
        stride, width = stride * block.reduction(), block.out(width)
        if block.a_map and stride > 1:
            found[stride] = Level(name, stride, width)
    return tuple(found.values())


def _stops(table: Chain) -> list[tuple[str, Any]]:
    """The rows whose outputs are maps of the network, those of a row of cells included."""
    rows: list[tuple[str, Any]] = []
    for name, block in table.rows:
        inner = getattr(block, "rows", ()) if block.reduction() > 2 else ()
        rows += [(f"{name}.{inside}", row) for inside, row in inner] or [(name, block)]
    return rows


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
