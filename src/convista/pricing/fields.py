"""Receptive fields: which pixels each unit of a network can see, operation by operation.

For each tensor we carry, along each spatial axis, the first and the last pixel that position 0 sees (`low`, `high`;
negative ones lie in the padding) and the pixels between two neighbouring positions (`jump`). A window of kernel k,
stride s, padding p and dilation d turns them into `low - p * jump`, `high + (d * (k - 1) - p) * jump` and `jump * s`
(Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", section 2). Where branches
meet, a unit sees what any of them sees. What looks at all positions, such as global pooling, sees the whole picture.
Where maps grow again, units differ in what they see; the field is then the least that holds every unit's. What moves
positions about in ways that this does not follow (attention over tokens, flips) leaves a field that is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch import Tensor

from convista.pricing.operations import NORMALISATION, WINDOWED, sides

__all__ = ["LOST", "RULES", "WHOLE", "Field", "everywhere", "lost"]

Number = Fraction | int


@dataclass(frozen=True)
class Field:
    """What the units of one tensor see.

    `axes` are the tensor's spatial dimensions; there are none where every unit sees everything, or where the field is
    not `known`. `all` says that some way leads through the whole picture (a squeeze-excite, statistics over positions),
    besides the windows.
    """

    axes: tuple[int, ...] = ()
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    jump: tuple[Number, ...] = ()
    all: bool = False
    known: bool = True

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each axis that a unit sees."""
        return tuple(int(high - low) + 1 for low, high in zip(self.low, self.high, strict=True))

    @property
    def stride(self) -> tuple[float, ...]:
        """Pixels between two neighbouring units."""
        return tuple(int(j) if j == int(j) else float(j) for j in self.jump)

    @property
    def padding(self) -> tuple[float, ...]:
        """Pixels outside the picture that the first unit would see."""
        return tuple(int(-low) if low == int(low) else float(-low) for low in self.low)

    def slid(self, axis: int, kernel: int, stride: Number, padding: Number, dilation: int = 1) -> Field:
        """Behind a window that slides along the axis of this number."""
        jump = self.jump[axis]
        return self.moved(axis, -padding * jump, (dilation * (kernel - 1) - padding) * jump, stride)

    def moved(self, axis: int, below: Number, above: Number, stride: Number) -> Field:
        """Along the axis of this number: the first and the last pixel moved, the jump times `stride`."""
        return replace(
            self,
            low=_put(self.low, axis, self.low[axis] + below),
            high=_put(self.high, axis, self.high[axis] + above),
            jump=_put(self.jump, axis, self.jump[axis] * stride),
        )

    def joined(self, other: Field) -> Field:
        """What a unit sees that is made of both, position by position."""
        if not (self.known and other.known):
            return LOST
        if not (self.axes and other.axes):
            return WHOLE
        if (self.axes, self.jump) != (other.axes, other.jump):
            return LOST
        return replace(
            self,
            low=tuple(map(min, self.low, other.low)),
            high=tuple(map(max, self.high, other.high)),
            all=self.all or other.all,
        )


WHOLE = Field(all=True)
LOST = Field(known=False)


def _put(values: tuple[Number, ...], at: int, value: Number) -> tuple[Number, ...]:
    return (*values[:at], value, *values[at + 1 :])


Seen = list[tuple[Tensor, Field]]
Rule = Callable[[tuple[Any, ...], Tensor, Seen], Field]


def lost(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Nobody knows; but what has seen everything before, or never had positions, has not lost any."""
    return WHOLE if all(field == WHOLE for _, field in seen) else LOST


def everywhere(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Position by position where the positions stay.

    One value for all positions of a map, such as a squeeze-excite's, gates it: the map's windows stay what they were.
    """
    maps = [(tensor, _kept(tensor, out, field)) for tensor, field in seen]
    windows = [field for _, field in maps if field.axes]
    if not windows:
        return LOST if any(not field.known for _, field in maps) else WHOLE
    made, axes = windows[0], windows[0].axes
    for field in windows[1:]:
        made = made.joined(field)
    for tensor, field in maps:
        if not field.axes:
            shape = (1,) * (out.ndim - tensor.ndim) + tuple(tensor.shape)
            gate = made.axes and all(shape[axis] == 1 < out.shape[axis] for axis in axes)
            made = replace(made, all=True) if gate else made.joined(field)
    return made


def _kept(tensor: Tensor, out: Tensor, field: Field) -> Field:
    """The field of a tensor whose positions are those of `out`, or which is spread over them."""
    if not field.axes:
        return field
    shift = out.ndim - tensor.ndim
    axes = tuple(axis + shift for axis in field.axes)
    if min(axes) < 0 or any(out.shape[a] != tensor.shape[b] for a, b in zip(axes, field.axes, strict=True)):
        one = all(tensor.shape[axis] == 1 for axis in field.axes)
        return replace(WHOLE, known=True) if one else LOST
    return replace(field, axes=axes)


def _statistics(axes_of: Callable[[tuple[Any, ...]], bool]) -> Rule:
    """A normalisation; where its statistics are taken over positions, all of them are seen through these."""

    def rule(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
        field = _kept(args[0], out, seen[0][1])
        return replace(field, all=True) if field.axes and axes_of(args) else field

    return rule


def _over_positions(args: tuple[Any, ...]) -> bool:
    """Whether a layer normalisation (input, the shape that is normalised, …) of a map takes in positions."""
    field: Field = args[0]._seen_field
    return any(axis >= args[0].ndim - len(args[1]) for axis in field.axes)


def _window(field: Field, before: Tensor, over: int, **sliding: Any) -> Field:
    """Behind a window over the last `over` dimensions; one that covers all positions at once sees the whole picture."""
    words = [sides(sliding[key], over) for key in ("kernel", "stride", "padding", "dilation")]
    windows = {axis: [word[axis - (before.ndim - over)] for word in words] for axis in field.axes}
    if any(before.shape[axis] > 1 for axis in field.axes) and all(
        axis >= before.ndim - over and padding == 0 and dilation * (kernel - 1) + 1 == before.shape[axis]
        for axis, (kernel, _, padding, dilation) in windows.items()
    ):
        return WHOLE
    for i, axis in enumerate(field.axes):
        if axis >= before.ndim - over:
            field = field.slid(i, *windows[axis])
    return field


def _convolution(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    x, weight, stride, padding, dilation, transposed = args[0], args[1], *args[3:7]
    field = seen[0][1]
    if seen[0][0] is not x or not field.axes:
        return lost(args, out, seen)
    if transposed:
        return _transposed(field, tuple(weight.shape[2:]), stride, padding, dilation)
    kernel = tuple(weight.shape[2:])
    return _window(field, x, len(kernel), kernel=kernel, stride=stride, padding=padding, dilation=dilation)


def _transposed(field: Field, kernel: tuple[int, ...], stride: Any, padding: Any, dilation: Any) -> Field:
    """Output o takes the inputs i with `o = i * s - p + d * j`, j in 0..k-1: at most those of the widest unit."""
    for i, k in enumerate(kernel):
        s, p, d = (sides(value, len(kernel))[i] for value in (stride, padding, dilation))
        jump = Fraction(field.jump[i])
        low, high = field.low[i] + jump * Fraction(p - d * (k - 1), s), field.high[i] + jump * Fraction(p, s)
        field = replace(field, low=_put(field.low, i, low), high=_put(field.high, i, high))
        field = replace(field, jump=_put(field.jump, i, jump / s))
    return field


def _pool(name: str) -> Rule:
    def rule(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
        x, field = seen[0]
        kernel = args[1]
        stride = args[2] if len(args) > 2 and args[2] else kernel
        padding = args[3] if len(args) > 3 else [0]
        dilation = args[4] if name.startswith("max") and len(args) > 4 else [1]
        if not field.axes:
            return field
        over = WINDOWED[name]
        return _window(field, x, over, kernel=kernel, stride=stride, padding=padding, dilation=dilation)

    return rule


def _adaptive(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Windows of `ceil(n / m)` or one more positions, n / m apart."""
    x, field = seen[0]
    if not field.axes:
        return field
    if all(out.shape[axis] == 1 < x.shape[axis] for axis in field.axes):
        return WHOLE
    for i, axis in enumerate(field.axes):
        n, m = x.shape[axis], out.shape[axis]
        widest = max(-(-(j + 1) * n // m) - j * n // m for j in range(m))
        field = field.slid(i, widest, Fraction(n, m), 0)
    return field


def _reduced(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """A mean or sum: over channels the positions stay, over positions everything is seen."""
    x, field = seen[0]
    over = args[1] if len(args) > 1 and args[1] else list(range(x.ndim))
    dims = {dim % x.ndim for dim in (over if isinstance(over, list | tuple) else [over])}
    if not field.axes:
        return field
    if dims & set(field.axes):
        return WHOLE if dims >= set(field.axes) else LOST
    if out.ndim == x.ndim:
        return field
    return replace(field, axes=tuple(axis - sum(dim < axis for dim in dims) for axis in field.axes))


def _slice(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    x, field = seen[0]
    dim = (args[1] if len(args) > 1 else 0) % x.ndim
    if dim not in field.axes:
        return field
    start, step = (args[2] if len(args) > 2 and args[2] else 0), (args[4] if len(args) > 4 else 1)
    start = start + x.shape[dim] if start < 0 else start
    return field.slid(field.axes.index(dim), 1, step, -start)


def _select(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    x, field = seen[0]
    dim = args[1] % x.ndim
    if dim in field.axes:
        return LOST
    return replace(field, axes=tuple(axis - (dim < axis) for axis in field.axes))


def _pad(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """`pad` lists the margins from the last axis on: before, after, before, after, …"""
    x, field = seen[0]
    for i, axis in enumerate(field.axes):
        before = 2 * (x.ndim - 1 - axis)
        field = field.slid(i, 1, 1, args[1][before] if before < len(args[1]) else 0)
    return field


def _permuted(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    x, field = seen[0]
    order = [dim % x.ndim for dim in args[1]]
    return replace(field, axes=tuple(order.index(axis) for axis in field.axes))


def _transposition(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    x, field = seen[0]
    a, b = (dim % x.ndim for dim in args[1:3])
    return replace(field, axes=tuple({a: b, b: a}.get(axis, axis) for axis in field.axes))


def _upsampled(reach: int) -> Rule:
    """Position o of r times as many lies at o / r + (1 / r - 1) / 2 and takes `reach` neighbours on each side of it.

    With 0 the nearest one alone. Which ones they are depends on o: the field is what holds them all.
    """

    def rule(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
        x, field = seen[0]
        for i, axis in enumerate(field.axes):
            step, jump = Fraction(x.shape[axis], out.shape[axis]), field.jump[i]
            centre = (step - 1) / 2
            below, above = (min(step - 1, Fraction(0)), 0) if reach == 0 else (centre - reach, centre + reach)
            field = field.moved(i, below * jump, above * jump, step)
        return field

    return rule


def _unshuffled(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Squares of `args[1]` positions become channels of one."""
    field, side = seen[0][1], args[1]
    for i in range(len(field.axes)):
        field = field.slid(i, side, side, 0)
    return field


def _concatenated(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    dim = (args[1] if len(args) > 1 else 0) % out.ndim
    made = seen[0][1]
    for _, field in seen[1:]:
        made = made.joined(field)
    return LOST if dim in made.axes else made


def _view(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Positions that are folded into rows for a linear layer come back when the rows are unfolded behind it.

    A map that becomes one vector is on its way to a fully connected layer, which sees all of it.
    """
    x, field = seen[0]
    folded: tuple[tuple[int, ...], Field] | None = getattr(x, "_folded", None)
    if folded and tuple(out.shape[:-1]) == folded[0]:
        return folded[1]
    if out.ndim == 2 and out.shape[-1] == x.shape[-1] and field.axes and max(field.axes) < x.ndim - 1:
        out._folded = (tuple(x.shape[:-1]), field)  # type: ignore[attr-defined]
    if out.ndim == 2 and out.shape[0] == x.shape[0] and field.known:
        return WHOLE
    return _kept(x, out, field)


def _rows(at: int) -> Rule:
    """A matrix product keeps the rows of its left side, which is the argument at this place."""

    def rule(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
        if len(seen) == 1 and seen[0][0] is args[at] and hasattr(args[at], "_folded"):
            out._folded = args[at]._folded  # type: ignore[attr-defined]
        return lost(args, out, seen)

    return rule


def _parts(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Parts along channels keep their positions."""
    x, field = seen[0]
    dim = (args[2] if len(args) > 2 else 0) % x.ndim
    return LOST if dim in field.axes else field


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    **{name: _pool(name) for name in WINDOWED},
    **{f"_adaptive_avg_pool{n}d": _adaptive for n in (2, 3)},
    **{f"adaptive_{kind}_pool{n}d": _adaptive for kind in ("avg", "max") for n in (1, 2, 3)},
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "var", "var_mean"), _reduced),
    **{f"{kind}_pad{n}d": _pad for kind in ("reflection", "replication") for n in (1, 2, 3)},
    "constant_pad_nd": _pad,
    **{f"{kind}{n}d": _upsampled(0) for kind in ("upsample_nearest", "_upsample_nearest_exact") for n in (1, 2, 3)},
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), _upsampled(1)),
    "upsample_bicubic2d": _upsampled(2),
    "pixel_shuffle": _upsampled(0),
    "pixel_unshuffle": _unshuffled,
    **dict.fromkeys(NORMALISATION, _statistics(lambda args: bool(args[3] is None))),  # no running mean
    "native_group_norm": _statistics(lambda args: True),
    "native_layer_norm": _statistics(_over_positions),
    **dict.fromkeys(
        ("clone", "copy", "_to_copy", "detach", "alias", "expand", "lift_fresh", "native_dropout"), everywhere
    ),
    **dict.fromkeys(("squeeze", "unsqueeze"), everywhere),
    "slice": _slice,
    "select": _select,
    "permute": _permuted,
    "transpose": _transposition,
    "cat": _concatenated,
    "split": _parts,
    "split_with_sizes": _parts,
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_copy"), _view),
    "mm": _rows(0),
    "addmm": _rows(1),
}
