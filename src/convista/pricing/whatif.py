"""What a network would cost if its table were another: the changed table, and the formulas that foresee the saving.

Each change of a convolution is written down twice: as the block that takes its place, and as the convolutions of
which that block consists, in closed form. The network built from the changed table costs what the formula says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from convista.blocks import IN, Block, Chain, Conv, Spec
from convista.blocks.changes import set_activation, without_norm
from convista.blocks.windows import both
from convista.errors import InputError, UnknownNameError
from convista.models import spec as spec_of
from convista.models.scaling import deepen, widen
from convista.pricing.count import cost
from convista.pricing.sites import Kernel, Site, sites_of
from convista.records import Cost

__all__ = ["CHANGES", "Saving", "WhatIf", "changed", "changes_of", "what_if"]

MOST = 64  # times as wide or deep
CHANGES = {
    "conv": "conv=separable: each k x k convolution becomes a depthwise and a 1x1 one",
    "groups": "groups=32: each k x k convolution in so many groups",
    "bottleneck": "bottleneck=4: 1x1 down to a quarter, k x k, 1x1 up again",
    "kernel7": "kernel7=3x3x3: each 7x7 convolution becomes three of 3x3; any other side likewise",
    "act": "act=tanh: another activation everywhere (relu, relu6, silu, tanh, …); gates keep theirs",
    "norm": "norm=none: no batch normalisation; convolutions get their biases back",
    "width": "width=0.5: half the channels everywhere",
    "depth": "depth=2: each stage of repeated blocks twice as long",
    "image": "image=160: pictures of that side",
}


@dataclass(frozen=True)
class Saving:
    """A change of a table and what its formula foresees, each counted from the state before this change.

    `convolutions` were rewritten, `ratio` is what is left of their multiply-accumulates (of all, where the whole table
    was scaled: a rule of thumb then). `params` and `macs` are the whole network's, exact where only convolutions were
    rewritten or other layers exchanged; None elsewhere.
    """

    change: str
    formula: str
    convolutions: int
    ratio: float
    params: int | None
    macs: int | None


@dataclass(frozen=True)
class WhatIf:
    """A network before and after changes of its table, and what the formulas foresaw, change by change.

    `spec` is the changed table; `create(spec)` builds it, and it trains like any other.
    """

    before: Cost
    after: Cost
    savings: tuple[Saving, ...]
    spec: Spec


@dataclass(frozen=True)
class Rewrite:
    """A change of convolutions: which ones, the block that takes their place, its kernels, and the formula in words."""

    word: str
    wants: Callable[[Conv], bool]
    block: Callable[[Conv], Chain]
    kernels: Callable[[Site], list[Kernel]]
    formula: str
    none: str
    divisor: int = 1  # must divide the channels that come out, and with `both_sides` those that go in
    both_sides: bool = False
    spares_stem: bool = True

    def widths(self, kernel: Kernel) -> tuple[int, ...]:
        """What `divisor` must divide."""
        return (kernel.into, kernel.out) if self.both_sides else (kernel.out,)


def what_if(model: str | Spec, changes: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), **words: Any) -> WhatIf:
    """The network as it is and with its table changed, side by side, and what the formulas foresaw.

    `changes` holds (word, value) pairs, made in the order in which they are given, and before `words`:
    `conv="separable"`, `groups=32`, `bottleneck=4`, `kernel7="3x3x3"`, `act="tanh"`, `norm="none"`, `width=0.5`,
    `depth=2`, `image=160`. The first convolution, which sees colours, keeps its form unless a kernel of its side is
    asked for. Raises `UnknownNameError` for a change that does not exist, `InputError` for one that the table cannot
    take.

    >>> found = what_if("resnet18", conv="separable")
    >>> found.before.macs, found.after.macs, found.savings[0].macs == found.after.macs
    (1814073344, 336804096, True)
    """
    spec = spec_of(model) if isinstance(model, str) else model
    pairs = changes.items() if isinstance(changes, Mapping) else changes
    after, savings = _all_applied(spec, [*pairs, *words.items()])
    return WhatIf(cost(spec), cost(after), savings, after)


def changed(spec: Spec, changes: Iterable[tuple[str, Any]]) -> Spec:
    """The changed table alone, as `what_if` makes it. Raises `UnknownNameError` and `InputError` as it does."""
    return _all_applied(spec, changes)[0]


def changes_of(text: str) -> list[tuple[str, str]]:
    """The changes in a text such as "conv=separable,width=0.5", word and value. Raises `InputError`.

    >>> changes_of("conv=separable, width=0.5")
    [('conv', 'separable'), ('width', '0.5')]
    """
    parts = [part.strip().partition("=") for part in text.split(",")] if text.strip() else []
    if any(not (word and value) for word, _, value in parts):
        raise InputError(f"what_if={text!r} was given; expected CHANGE=VALUE, such as conv=separable,width=0.5.")
    return [(word, value) for word, _, value in parts]


def _all_applied(spec: Spec, changes: Iterable[tuple[str, Any]]) -> tuple[Spec, tuple[Saving, ...]]:
    if not isinstance(spec, Spec):
        raise InputError(f"{getattr(spec, 'name', spec)} has no table to change: what-if is for networks of our own.")
    savings: list[Saving] = []
    for word, value in changes:
        spec, saving = _applied(spec, word, value)
        savings.append(saving)
    return replace(spec, name=" ".join([spec.name, *(saving.change for saving in savings)])), tuple(savings)


def _applied(spec: Spec, word: str, value: Any) -> tuple[Spec, Saving]:
    if word in ("width", "depth", "image"):
        return _scaled(spec, word, value)
    if word in ("act", "norm"):
        return _exchanged(spec, word, value)
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
    lambda site: [
        replace(site.kernel, out=site.kernel.into, groups=site.kernel.into),
        replace(site.kernel, kernel=(1, 1)),
    ],
    "1/N + 1/k^2",
    "It has no k x k convolution over all channels that could be made separable.",
)


def _grouped(groups: int) -> Rewrite:
    return Rewrite(
        f"groups={groups}",
        _full,
        lambda conv: Chain(conv=replace(conv, groups=groups)),
        lambda site: [replace(site.kernel, groups=groups)],
        f"1/{groups}",
        "It has no k x k convolution over all channels that could be grouped.",
        groups,
        both_sides=True,
    )


def _bottleneck(ratio: int) -> Rewrite:
    def block(conv: Conv) -> Chain:
        inner = conv.width // ratio if isinstance(conv.width, int) else conv.width / ratio
        return Chain(
            reduce=_one(conv, inner, _act(conv)),
            conv=replace(conv, width=inner, act=_act(conv)),
            expand=_one(conv, conv.width, conv.act),
        )

    def kernels(site: Site) -> list[Kernel]:
        k, inner = site.kernel, site.kernel.out // ratio
        return [
            replace(k, out=inner, kernel=(1, 1), positions=math.prod(site.size_in)),
            replace(k, into=inner, out=inner),
            replace(k, into=inner, kernel=(1, 1)),
        ]

    return Rewrite(
        f"bottleneck={ratio}",
        _full,
        block,
        kernels,
        f"9 C^2 -> (2/{ratio} + 9/{ratio}^2) C^2 = {2 / ratio + 9 / ratio**2:g} C^2",
        "It has no k x k convolution over all channels that could be made a bottleneck.",
        ratio,
    )


def _stack(side: int, value: str) -> Rewrite:
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", value)
    if not match or match[1] != match[2]:
        raise InputError(f"kernel{side}={value} was given; expected for example kernel7=3x3x3, three of 3x3.")
    k, n = int(match[1]), int(match[3])
    if n * (k - 1) + 1 != side or k % 2 == 0:
        fitting = [f"{s}x{s}x{(side - 1) // (s - 1)}" for s in (3, 5, 7) if s < side and (side - 1) % (s - 1) == 0]
        hint = f" {' or '.join(fitting)} does." if fitting else ""
        if k % 2 == 0:
            raise InputError(f"kernel{side}={value} was given, but windows of {k} have no centre.{hint}")
        raise InputError(f"kernel{side}={value} sees {n * (k - 1) + 1} pixels, not {side}.{hint}")

    def block(conv: Conv) -> Chain:
        if conv.padding not in (None, "same", side // 2) and (conv.padding, conv.stride) != (0, 1):
            raise InputError(
                f"kernel{side}={value} was given, but a {side}x{side} convolution with stride {conv.stride} and "
                f"padding {conv.padding} has no stack of smaller ones that makes maps of the same size."
            )
        padding = conv.padding if conv.padding in (0, "same") else None
        first = replace(conv, kernel=k, padding=padding, act=_act(conv))
        rest = replace(first, width=IN, stride=1)
        middle = {f"conv{i + 2}": rest for i in range(n - 2)}
        return Chain(conv1=first, **middle, **{f"conv{n}": replace(rest, act=conv.act)})

    def kernels(site: Site) -> list[Kernel]:
        first = replace(site.kernel, kernel=(k, k), positions=site.behind(k))
        rest = (replace(first, into=first.out, positions=site.behind(k, times)) for times in range(2, n + 1))
        return [first, *rest]

    return Rewrite(
        f"kernel{side}={value}",
        lambda conv: conv.groups == 1 and both(conv.kernel) == (side, side),
        block,
        kernels,
        f"{side**2} C^2 -> {n} x {k * k} C^2 = {n * k * k} C^2 for C channels in and out",
        f"It has no {side}x{side} convolution over all channels.",
        spares_stem=False,
    )


def _rewritten(spec: Spec, rewrite: Rewrite) -> tuple[Spec, Saving]:
    """The table with the convolutions that `rewrite` wants replaced, and what its formula foresees."""
    sites = [
        site for site in sites_of(spec) if rewrite.wants(site.as_block) and not (rewrite.spares_stem and site.stem)
    ]
    if not sites:
        has = ", ".join(f"{h}x{w}" for h, w in sorted({site.kernel.kernel for site in sites_of(spec)}))
        raise InputError(f"{rewrite.word} changes nothing in {spec.name}. {rewrite.none} Its kernels: {has}.")
    _refuse_indivisible(rewrite, spec, sites)
    convolutions = 0

    def change(block: Block) -> Block:
        nonlocal convolutions
        if not isinstance(block, Conv):
            return block
        convolutions += 1
        stem = convolutions == 1 and rewrite.spares_stem
        return rewrite.block(block) if rewrite.wants(block) and not stem else block

    table = spec.table.map(change)
    now = cost(spec)
    old = sum(site.kernel.macs for site in sites)
    kernels = [(site, rewrite.kernels(site)) for site in sites]
    new = sum(kernel.macs for _, made in kernels for kernel in made)
    more = sum(sum(map(site.params, made)) - site.params(site.kernel) for site, made in kernels)
    saving = Saving(rewrite.word, rewrite.formula, len(sites), new / old, now.params + more, now.macs - old + new)
    return replace(spec, table=table), saving  # type: ignore[arg-type]


def _refuse_indivisible(rewrite: Rewrite, spec: Spec, sites: list[Site]) -> None:
    """Raises `InputError` where a number of groups, or a ratio, does not divide the widths that it must."""
    widths = {width for site in sites for width in rewrite.widths(site.kernel)}
    wrong = sorted(width for width in widths if width % rewrite.divisor)
    if wrong:
        common = math.gcd(*widths)
        fitting = [n for n in range(2, common + 1) if common % n == 0]
        hint = (
            f"What divides all of them: {', '.join(map(str, fitting))}." if fitting else "Nothing divides all of them."
        )
        said = ", ".join(map(str, wrong[:5]))
        raise InputError(
            f"{rewrite.word} was given, but {spec.name} has widths that it does not divide: {said}. {hint}"
        )


def _exchanged(spec: Spec, word: str, value: Any) -> tuple[Spec, Saving]:
    """The table with other activations, which cost nothing that is counted in advance, or without normalisation."""
    if word == "norm" and value != "none":
        raise UnknownNameError("normalisation", str(value), ["none"])
    now, table = cost(spec), spec.table
    try:
        new = replace(spec, table=without_norm(table) if word == "norm" else set_activation(table, str(value)))
    except UnknownNameError:
        raise
    except InputError as error:
        raise InputError(f"{word}={value} cannot be had: {spec.name}: {error}") from None
    if new.table == table:
        raise InputError(f"{word}={value} changes nothing in {spec.name}.")
    formula, more = "as many weights and MACs", 0
    if word == "norm":
        formula = "2 C parameters of each normalisation go, C biases come for each convolution without"
        more = _biases(spec) - sum(row.params for row in now.rows if row.kind == "BatchNorm2d")
    return new, Saving(f"{word}={value}", formula, 0, 1.0, now.params + more, now.macs)


def _biases(spec: Spec) -> int:
    """How many biases the table's convolutions lack; a shortcut's projection needs none beside its body's."""
    return sum(site.kernel.out for site in sites_of(spec) if not site.bias and not site.shortcut)


def _scaled(spec: Spec, word: str, value: Any) -> tuple[Spec, Saving]:
    """The table wider, deeper, or for other pictures, and the rule of thumb for what that costs."""
    factor = _number(word, value)
    try:
        if word == "image":
            new = spec.at(int(factor))
            ratio, formula = (factor / spec.image) ** 2, f"({int(factor)} / {spec.image})^2"
        elif word == "width":
            new, ratio = replace(spec, table=widen(spec.table, factor)), factor**2
            formula = f"{factor:g}^2"
            _ = new.layers
        else:
            new, ratio = replace(spec, table=deepen(spec.table, factor)), factor
            formula = f"{factor:g} of what is repeated"
    except InputError as error:
        raise InputError(f"{word}={value} cannot be had: {spec.name}: {error}".removesuffix(".") + ".") from None
    return new, Saving(f"{word}={value}", formula, 0, ratio, None, None)


def _number(word: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < (math.inf if word == "image" else MOST) or (word == "image" and number != int(number)):
        kind = "a side in pixels" if word == "image" else f"a positive factor below {MOST}"
        raise InputError(f"{word}={value} was given; expected {kind}.")
    return number
