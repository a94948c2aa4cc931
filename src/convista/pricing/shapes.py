"""Shapes of the commonest operations at once: torch works them out on the meta device a hundred times slower.

Only what a convolutional network does thousands of times is here; all else goes torch's way. The tests compare these
shapes with those of real numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["shaped"]

aten = torch.ops.aten


def shaped(operation: Any, args: tuple[Any, ...]) -> Any:
    """What `operation` gives for tensors on the meta device, without numbers; None where torch should say."""
    rule = RULES.get(operation)
    return rule(*args) if rule is not None and _plain(args) else None


def _plain(args: tuple[Any, ...]) -> bool:
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    return all(tensor.is_meta for tensor in tensors)


def _batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`rest` is weight, bias, running mean, running variance, training, momentum, eps; statistics while training."""
    channels = x.shape[1] if rest[4] else 0
    return torch.empty_like(x), x.new_empty(channels), x.new_empty(channels)


def _batch_norm_backward(_: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    """Gradient, input, weight, …; the last one says which of the three gradients are wanted."""
    channels = x.shape[1]
    made = (torch.empty_like(x), x.new_empty(channels), x.new_empty(channels))
    return tuple(tensor if wanted else None for tensor, wanted in zip(made, rest[-1], strict=True))


def _alike(x: Tensor, *_: Any) -> Tensor | None:
    return torch.empty_like(x) if x.is_floating_point() else None


def _both(a: Any, b: Any, *_: Any) -> Tensor | None:
    same = isinstance(a, Tensor) and isinstance(b, Tensor) and (a.shape, a.dtype) == (b.shape, b.dtype)
    return torch.empty_like(a) if same else None


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
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.relu.default: _alike,
    aten.silu.default: _alike,
    aten.sigmoid.default: _alike,
    aten.hardtanh.default: _alike,
    aten.threshold_backward.default: _alike,
    aten.add.Tensor: _both,
    aten.mul.Tensor: _both,
    aten.cat.default: _cat,
}
