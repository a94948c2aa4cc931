"""Receptive fields: which pixels each unit of a network can see, through any branches.

For each tensor we carry, along each spatial axis, the first and the last pixel that position 0 sees (`low`, `high`;
negative ones lie in the padding) and the pixels between two neighbouring positions (`jump`). A window of kernel k,
stride s, padding p and dilation d turns them into `low - p * jump`, `high + (d * (k - 1) - p) * jump` and `jump * s`
(Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", section 2). Where branches
meet, a unit sees what any of them sees. What looks at all positions, such as global pooling, sees the whole picture.
Where maps grow again, units differ in what they see; the field is then the least that holds every unit's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch import Tensor

from convista.pricing.operations import WINDOWED, name_of, sides
from convista.pricing.trace import Layer, Step, tensors_in

__all__ = ["Field", "Fields"]

Number = Fraction | int


@dataclass(frozen=True)
class Field:
    """What the units of one tensor see.

    `axes` are the tensor's spatial dimensions; there are none where every unit sees everything. `all` says that some
    way leads through the whole picture (a squeeze-excite, for example), besides the windows.
    """

    axes: tuple[int, ...]
    low: tuple[Number, ...]
    high: tuple[Number, ...]
    jump: tuple[Number, ...]
    all: bool = False

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
        return replace(
            self,
            low=_put(self.low, axis, self.low[axis] - padding * jump),
            high=_put(self.high, axis, self.high[axis] + (dilation * (kernel - 1) - padding) * jump),
            jump=_put(self.jump, axis, jump * stride),
        )

    def joined(self, other: Field) -> Field:
        """What a unit sees that is made of both, position by position."""
        if not (self.axes and other.axes) or self.jump != other.jump:
            return WHOLE
        return replace(
            self,
            low=tuple(map(min, self.low, other.low)),
            high=tuple(map(max, self.high, other.high)),
            all=self.all or other.all,
        )


WHOLE = Field((), (), (), (), all=True)


def _put(values: tuple[Number, ...], at: int, value: Number) -> tuple[Number, ...]:
    return (*values[:at], value, *values[at + 1 :])


class Fields:
    """An observer that carries each tensor's `Field` along; `of` holds that of each layer, `last` the last map's."""

    def __init__(self, image: Tensor):
        self.of: dict[str, Field] = {}
        self.last: tuple[str, Field] | None = None
        axes = tuple(range(2, image.ndim))
        zeros = (0,) * len(axes)
        _mark(image, Field(axes, zeros, zeros, (1,) * len(axes)) if axes else WHOLE)

    def step(self, step: Step) -> None:
        """Works out the field of what an operation gives from those of what it took."""
        seen = [(tensor, field) for tensor in tensors_in(step.args) if (field := _field(tensor)) is not None]
        out = next(tensors_in(step.out), None)
        if not seen or out is None:
            return
        rule = RULES.get(name_of(step.operation), _everywhere)
        made = rule(step.args, out, seen)
        for tensor in tensors_in(step.out):
            _mark(tensor, made)
        self.of[step.layer.name] = made
        if made.axes:
            self.last = (step.layer.name, made)

    def left(self, layer: Layer, out: Any) -> None:
        """A layer's field is that of what it returns."""
        field = next((found for tensor in tensors_in(out) if (found := _field(tensor)) is not None), None)
        if field is not None:
            self.of[layer.name] = field


def _mark(tensor: Tensor, field: Field) -> None:
    tensor._seen_field = field  # type: ignore[attr-defined]


def _field(tensor: Tensor) -> Field | None:
    return getattr(tensor, "_seen_field", None)


Seen = list[tuple[Tensor, Field]]
Rule = Callable[[tuple[Any, ...], Tensor, Seen], Field]


def _everywhere(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Position by position where the positions stay; all the picture where they do not.

    One value for all positions of a map, such as a squeeze-excite's, gates it: the map's windows stay what they were.
    """
    maps = [(tensor, _kept(tensor, out, field)) for tensor, field in seen]
    windows = [field for _, field in maps if field.axes]
    if not windows:
        return WHOLE
    made, axes = windows[0], windows[0].axes
    for field in windows[1:]:
        made = made.joined(field)
    for tensor, field in maps:
        if not field.axes:
            shape = (1,) * (out.ndim - tensor.ndim) + tuple(tensor.shape)
            gate = made.axes and all(shape[axis] == 1 < out.shape[axis] for axis in axes)
            made = replace(made, all=True) if gate else WHOLE
    return made


def _kept(tensor: Tensor, out: Tensor, field: Field) -> Field:
    """The field of a tensor whose positions are those of `out`, or which is spread over them."""
    if not field.axes:
        return field
    shift = out.ndim - tensor.ndim
    axes = tuple(axis + shift for axis in field.axes)
    if min(axes) < 0 or any(out.shape[a] != tensor.shape[b] for a, b in zip(axes, field.axes, strict=True)):
        return WHOLE
    return replace(field, axes=axes)


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
    field = _field(x)
    if field is None or not field.axes:
        return WHOLE
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
    if not field.axes or all(out.shape[axis] == 1 < x.shape[axis] for axis in field.axes):
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
    if not field.axes or dims & set(field.axes):
        return WHOLE
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
        return WHOLE
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
            below, above = (step - 1, 0) if reach == 0 else (centre - reach, centre + reach)
            field = replace(
                field,
                low=_put(field.low, i, field.low[i] + below * jump),
                high=_put(field.high, i, field.high[i] + above * jump),
                jump=_put(field.jump, i, jump * step),
            )
        return field

    return rule


def _concatenated(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    dim = (args[1] if len(args) > 1 else 0) % out.ndim
    made = seen[0][1]
    for _, field in seen[1:]:
        made = made.joined(field)
    return WHOLE if dim in made.axes else made


def _view(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
    """Positions that are folded into rows for a linear layer come back when the rows are unfolded behind it."""
    x, field = seen[0]
    folded: tuple[tuple[int, ...], Field] | None = getattr(x, "_folded", None)
    if folded and tuple(out.shape[:-1]) == folded[0]:
        return folded[1]
    if out.ndim == 2 and out.shape[-1] == x.shape[-1] and field.axes and max(field.axes) < x.ndim - 1:
        out._folded = (tuple(x.shape[:-1]), field)  # type: ignore[attr-defined]
    return _everywhere(args, out, seen)


def _rows(at: int) -> Rule:
    """A matrix product keeps the rows of its left side, which is the argument at this place."""

    def rule(args: tuple[Any, ...], out: Tensor, seen: Seen) -> Field:
        if len(seen) == 1 and seen[0][0] is args[at] and hasattr(args[at], "_folded"):
            out._folded = args[at]._folded  # type: ignore[attr-defined]
        return WHOLE

    return rule


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    **{name: _pool(name) for name in WINDOWED},
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "var", "var_mean"), _reduced),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _pad),
    **dict.fromkeys(("upsample_nearest2d", "upsample_nearest1d"), _upsampled(0)),
    "upsample_bilinear2d": _upsampled(1),
    "upsample_bicubic2d": _upsampled(2),
    "slice": _slice,
    "select": _select,
    "permute": _permuted,
    "transpose": _transposition,
    "cat": _concatenated,
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_copy"), _view),
    "mm": _rows(0),
    "addmm": _rows(1),
}
