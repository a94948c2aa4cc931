"""What a network would cost if its table were another: the changed table, and the formulas that foresee the saving.

Each change of a convolution is written down twice: as the block that takes its place, and as the convolutions of
which that block consists, in closed form. The network built from the changed table costs what the formula says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from convista.blocks import IN, Block, Chain, Conv, Net, Spec
from convista.blocks.windows import both
from convista.errors import InputError, UnknownNameError
from convista.models import spec as spec_of
from convista.models.scaling import deeper, wider
from convista.pricing.count import cost, skeleton
from convista.pricing.tables import repeated, widened
from convista.records import Cost, CostRow, Saving, WhatIf

__all__ = ["CHANGES", "changed", "what_if"]

CHANGES = {
    "conv": "conv=separable: each k x k convolution becomes a depthwise and a 1x1 one",
    "groups": "groups=32: each k x k convolution in so many groups",
    "bottleneck": "bottleneck=4: 1x1 down to a quarter, k x k, 1x1 up again",
    "kernel7": "kernel7=3x3x3: each 7x7 convolution becomes three of 3x3; any other side likewise",
    "width": "width=0.5: half the channels everywhere",
    "depth": "depth=2: each stage of repeated blocks twice as long",
    "image": "image=160: pictures of that side",
}


@dataclass(frozen=True)
class Kernel:
    """One convolution by its numbers: channels in and out, kernel, groups, and at how many positions it is taken."""

    into: int
    out: int
    kernel: tuple[int, int]
    groups: int
    positions: int

    @property
    def weights(self) -> int:
        """Its parameters, biases left out."""
        return self.into // self.groups * self.out * self.kernel[0] * self.kernel[1]

    @property
    def macs(self) -> int:
        """Its multiply-accumulates."""
        return self.weights * self.positions


@dataclass(frozen=True)
class Rewrite:
    """A change of convolutions: which ones, the block that takes their place, its kernels, and the formula in words."""

    word: str
    wants: Callable[[Conv], bool]
    block: Callable[[Conv], Chain]
    kernels: Callable[[Kernel, int], list[Kernel]]  # of a kernel, and of how many positions come in
    formula: str
    none: str


def what_if(model: str | Spec, changes: Mapping[str, Any] | None = None, **words: Any) -> WhatIf:
    """The network as it is and with its table changed, side by side, and what the formulas foresaw.

    Changes are made in the order in which they are given: `conv="separable"`, `groups=32`, `bottleneck=4`,
    `kernel7="3x3x3"`, `width=0.5`, `depth=2`, `image=160`. The first convolution, which sees colours, keeps its form
    unless a kernel of its side is asked for. Raises `UnknownNameError` for a change that does not exist, `InputError`
    for one that the table cannot take.

    >>> found = what_if("resnet18", conv="separable")
    >>> found.before.macs, found.after.macs, found.savings[0].macs == found.after.macs
    (1814073344, 337832960, True)
    """
    spec = spec_of(model) if isinstance(model, str) else model
    if not isinstance(spec, Spec):
        raise InputError(f"{getattr(spec, 'name', spec)} has no table to change: what-if is for networks of our own.")
    before, savings = cost(spec), []
    for word, value in {**(changes or {}), **words}.items():
        now = spec
        spec, saving = _applied(now, word, value)
        savings.append(saving)
    return WhatIf(before, cost(spec), tuple(savings), spec.to_json())


def changed(spec: Spec, **words: Any) -> Spec:
    """The table with the changes of `what_if`, as a `Spec` that builds and trains like any other."""
    for word, value in words.items():
        spec, _ = _applied(spec, word, value)
    return spec


def _applied(spec: Spec, word: str, value: Any) -> tuple[Spec, Saving]:
    if word in ("width", "depth", "image"):
        return _scaled(spec, word, value)
    return _rewritten(spec, _rewrite(word, value))


def _rewrite(word: str, value: Any) -> Rewrite:
    side = re.fullmatch(r"kernel(\d+)", word)
    if side:
        return _stack(int(side[1]), str(value))
    if word == "conv":
        if value != "separable":
            raise UnknownNameError("form of convolution", str(value), ["separable"])
        return SEPARABLE
    if word == "groups":
        return _grouped(_whole(word, value))
    if word == "bottleneck":
        return _bottleneck(_whole(word, value))
    raise UnknownNameError("change", word, CHANGES)


def _whole(word: str, value: Any) -> int:
    if not re.fullmatch(r"\d+", str(value)) or int(value) < 2:
        raise InputError(f"{word}={value} was given; expected a whole number of at least 2.")
    return int(value)


def _full(conv: Conv) -> bool:
    """Whether a convolution mixes all channels over more than one position."""
    return conv.groups == 1 and both(conv.kernel) != (1, 1)


def _act(conv: Conv) -> str | None:
    """The activation between two parts of what was one convolution; the last convolution of a body has none itself."""
    return conv.act or "relu"


def _separable(conv: Conv) -> Chain:
    depthwise = replace(conv, width=IN, groups=IN, act=_act(conv))
    return Chain(depthwise=depthwise, project=_one(conv, conv.width, conv.act))


def _one(conv: Conv, width: Any, act: str | None) -> Conv:
    return replace(conv, width=width, kernel=1, stride=1, padding=None, dilation=1, act=act)


SEPARABLE = Rewrite(
    "conv=separable",
    _full,
    _separable,
    lambda k, _: [
        replace(k, out=k.into, groups=k.into),
        Kernel(k.into, k.out, (1, 1), 1, k.positions),
    ],
    "1/N + 1/k^2",
    "It has no k x k convolution over all channels that could be made separable.",
)


def _grouped(groups: int) -> Rewrite:
    return Rewrite(
        f"groups={groups}",
        _full,
        lambda conv: Chain(conv=replace(conv, groups=groups)),
        lambda k, _: [replace(k, groups=groups)],
        f"1/{groups}",
        "It has no k x k convolution over all channels that could be grouped.",
    )


def _bottleneck(ratio: int) -> Rewrite:
    def block(conv: Conv) -> Chain:
        if not isinstance(conv.width, int) or conv.width % ratio:
            raise InputError(f"bottleneck={ratio} was given, but {ratio} does not divide a width of {conv.width}.")
        inner = conv.width // ratio
        return Chain(
            reduce=_one(conv, inner, _act(conv)),
            conv=replace(conv, width=inner, act=_act(conv)),
            expand=_one(conv, conv.width, conv.act),
        )

    return Rewrite(
        f"bottleneck={ratio}",
        _full,
        block,
        lambda k, before: [
            Kernel(k.into, k.out // ratio, (1, 1), 1, before),
            replace(k, into=k.out // ratio, out=k.out // ratio),
            Kernel(k.out // ratio, k.out, (1, 1), 1, k.positions),
        ],
        f"9 C^2 -> (2/{ratio} + 9/{ratio}^2) C^2 = {2 / ratio + 9 / ratio**2:g} C^2",
        "It has no k x k convolution over all channels that could be made a bottleneck.",
    )


def _stack(side: int, value: str) -> Rewrite:
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", value)
    if not match or match[1] != match[2]:
        raise InputError(f"kernel{side}={value} was given; expected for example kernel7=3x3x3, three of 3x3.")
    k, n = int(match[1]), int(match[3])
    if n * (k - 1) + 1 != side:
        fitting = [f"{s}x{s}x{(side - 1) // (s - 1)}" for s in (3, 5, 7) if s < side and (side - 1) % (s - 1) == 0]
        hint = f" {' or '.join(fitting)} does." if fitting else ""
        raise InputError(f"kernel{side}={value} sees {n * (k - 1) + 1} pixels, not {side}.{hint}")

    def block(conv: Conv) -> Chain:
        whole = isinstance(conv.padding, int)
        rest = replace(conv, width=IN, kernel=k, stride=1, padding=0 if whole else conv.padding, act=_act(conv))
        first = replace(conv, kernel=k, act=_act(conv))
        middle = {f"conv{i + 2}": rest for i in range(n - 2)}
        return Chain(conv1=first, **middle, **{f"conv{n}": replace(rest, act=conv.act)})

    return Rewrite(
        f"kernel{side}={value}",
        lambda conv: conv.groups == 1 and both(conv.kernel) == (side, side),
        block,
        lambda c, _: [replace(c, kernel=(k, k)), *[replace(c, into=c.out, kernel=(k, k))] * (n - 1)],
        f"{side**2} C^2 -> {n} x {k * k} C^2 = {n * k * k} C^2",
        f"It has no {side}x{side} convolution.",
    )


def _rewritten(spec: Spec, rewrite: Rewrite) -> tuple[Spec, Saving]:
    """The table with the convolutions that `rewrite` wants replaced, and what its formula foresees."""
    stem = _stem(spec)
    keeps_stem = not rewrite.word.startswith("kernel")
    count = 0

    def change(block: Block) -> Block:
        nonlocal count
        if not isinstance(block, Conv) or not rewrite.wants(block) or (keeps_stem and block is stem[0]):
            return block
        count += 1
        return rewrite.block(block)

    table = _mapped(spec.table, change)
    if not count:
        sides = sorted({k.kernel for k, _ in _kernels(spec)})
        has = ", ".join(f"{h}x{w}" for h, w in sides)
        raise InputError(f"{rewrite.word} changes nothing in {spec.name}. {rewrite.none} Its kernels are {has}.")
    return replace(spec, table=table), Saving(rewrite.word, rewrite.formula, 0, 0, 0.0)
