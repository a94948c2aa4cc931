"""Shapes of the commonest operations at once: torch works them out on the meta device a hundred times slower.

Only what a convolutional network does thousands of times is here; all else goes torch's way. The tests compare these
shapes with those of real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convista.blocks.windows import slides

__all__ = ["shaped"]

aten = torch.ops.aten
Sides = Sequence[int]


def shaped(operation: Any, args: tuple[Any, ...]) -> Any:
    """What `operation` gives for tensors on the meta device, without numbers; None where torch should say."""
    rule = RULES.get(operation)
    if rule is None:
        return None
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    usual = all(tensor.is_meta and (rule in ANY_LAYOUT or tensor.is_contiguous()) for tensor in tensors)
    return rule(*args) if usual else None


def _like(x: Tensor) -> Tensor:
    """`torch.empty_like` would load torch's own rules for shapes first, which takes longer than to price a network."""
    return x.new_empty(x.shape)


def _batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    """`rest` is weight, bias, running mean, running variance, training, momentum, eps; statistics while training."""
    if x.dtype != torch.float32 or not (rest[4] or isinstance(rest[2], Tensor)):
        return None
    channels = x.shape[1] if rest[4] else 0
    return _like(x), x.new_empty(channels), x.new_empty(channels)


def _batch_norm_backward(_: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    """Gradient, input, weight, …; the last one says which of the three gradients are wanted."""
    channels = x.shape[1]
    made = (_like(x), x.new_empty(channels), x.new_empty(channels))
    return tuple(tensor if wanted else None for tensor, wanted in zip(made, rest[-1], strict=True))


def _convolution(x: Tensor, weight: Tensor, *how: Any) -> Tensor | None:
    """`how` is bias, stride, padding, dilation, whether it is transposed, output padding, groups."""
    _, stride, padding, dilation, transposed, _, groups = how
    fits = x.ndim == weight.ndim and x.dtype == weight.dtype and x.shape[1] == weight.shape[1] * groups
    full = all(len(sides) == x.ndim - 2 for sides in (stride, padding, dilation))
    if transposed or not fits or not full or weight.shape[0] % groups:
        return None
    sizes = _slid(x, weight.shape[2:], stride, padding, dilation)
    return x.new_empty(len(x), len(weight), *sizes) if all(sizes) else None


def _max_pool(
    x: Tensor, kernel: Sides, stride: Sides = (), padding: Sides = (0, 0), dilation: Sides = (1, 1), ceil: bool = False
) -> tuple[Tensor, Tensor] | None:
    """Maxima, and where they were."""
    made = _pooled(x, kernel, stride, padding, dilation, ceil)
    return None if made is None else (made, made.new_empty(made.shape, dtype=torch.int64))


def _avg_pool(
    x: Tensor, kernel: Sides, stride: Sides = (), padding: Sides = (0, 0, 0), ceil: bool = False, *_: Any
) -> Tensor | None:
    return _pooled(x, kernel, stride, padding[: len(kernel)], (1,) * len(kernel), ceil)


def _pooled(x: Tensor, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides, ceil: bool) -> Tensor | None:
    stride = stride or kernel
    if any(len(sides) != x.ndim - 2 for sides in (kernel, stride, padding, dilation)):
        return None
    if any(2 * p > d * (k - 1) + 1 for k, p, d in zip(kernel, padding, dilation, strict=True)):  # torch refuses it
        return None
    sizes = _slid(x, kernel, stride, padding, dilation, ceil)
    return x.new_empty(*x.shape[:2], *sizes) if all(sizes) else None


def _adaptive(x: Tensor, sizes: Sides) -> Tensor | None:
    return x.new_empty(*x.shape[:2], *sizes) if x.ndim == 4 else None


def _slid(
    x: Tensor, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides, ceil: bool = False
) -> tuple[int, ...]:
    """Sizes of the map that a window makes; 0 where it does not fit."""
    axes = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    return tuple(slides(n, d * (k - 1) + 1, s, p, ceil) for n, k, s, p, d in axes)


def _itself(x: Tensor, *_: Any) -> Tensor | None:
    return x if x.is_floating_point() else None


def _alike(x: Tensor, *rest: Any) -> Tensor | None:
    real = x.is_floating_point() and not any(isinstance(value, complex) for value in rest)
    return _like(x) if real else None


def _both(a: Any, b: Any, *_: Any) -> Tensor | None:
    if isinstance(b, int | float):
        return _alike(a, b)
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or a.dtype != b.dtype:
        return None
    if a.shape == b.shape:
        return _like(a)
    narrow, wide = sorted((a, b), key=Tensor.numel)
    grows = narrow.ndim == wide.ndim and all(n in (1, w) for n, w in zip(narrow.shape, wide.shape, strict=True))
    return _like(wide) if grows else None


def _mean(x: Tensor, dims: list[int] | None, keep: bool = False) -> Tensor | None:
    real = x.is_floating_point() and all(-x.ndim <= dim < x.ndim for dim in dims or ())
    if not dims or not real or len({dim % x.ndim for dim in dims}) < len(dims):
        return None
    gone = {dim % x.ndim for dim in dims}
    return x.new_empty([1 if d in gone else n for d, n in enumerate(x.shape) if keep or d not in gone])


def _addmm(bias: Tensor, a: Tensor, b: Tensor) -> Tensor | None:
    flat = a.ndim == b.ndim == 2 and bias.ndim == 1 and a.dtype == b.dtype == bias.dtype
    return a.new_empty(len(a), b.shape[1]) if flat and a.shape[1] == len(b) and b.shape[1] == len(bias) else None


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if any((t.ndim, t.dtype, t.is_meta) != (first.ndim, first.dtype, True) for t in tensors) or first.ndim < 2:
        return None
    if not all(t.is_contiguous() for t in tensors):
        return None
    if any(t.shape[i] != first.shape[i] for t in tensors for i in range(first.ndim) if i != dim % first.ndim):
        return None
    shape = list(first.shape)
    shape[dim] = sum(t.shape[dim] for t in tensors)
    return first.new_empty(shape)


RULES: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: _convolution,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.avg_pool3d.default: _avg_pool,
    aten._adaptive_avg_pool2d.default: _adaptive,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.empty_like.default: _like,
    aten.relu.default: _alike,
    aten.silu.default: _alike,
    aten.sigmoid.default: _alike,
    aten.hardtanh.default: _alike,
    aten.relu_.default: _itself,
    aten.silu_.default: _itself,
    aten.hardtanh_.default: _itself,
    aten.div_.Scalar: _itself,
    aten.tanh.default: _alike,
    aten.pow.Tensor_Scalar: _alike,
    aten.threshold_backward.default: _alike,
    aten.add.Tensor: _both,
    aten.mul.Tensor: _both,
    aten.div.Tensor: _both,
    aten.cat.default: _cat,
    aten.mean.dim: _mean,
    aten.addmm.default: _addmm,
}
ANY_LAYOUT = {_itself, _mean, _addmm}  # rules that need not know how the numbers lie
