"""What one operation of torch costs: multiply-accumulates, other arithmetic by its kind, or nothing.

Operations are those of `aten`, into which every layer, functional call and operator falls apart, so that it does not
matter how a network was written.

- A multiply-accumulate (MAC) is one multiplication and one addition, 2 FLOPs; biases are not counted.
- `normalisation`: 2 FLOPs a value, the scale and the shift.
- `activation`: 1 a value, whatever the function.
- `pooling`: 1 for each value that a window reads.
- `elementwise`: 1 a value; sums, maxima and the like 1 for each value read.
- `resampling`: the products and sums of the interpolation.
- Nothing: what only moves, copies, fills or draws values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

__all__ = ["KINDS", "NORMALISATION", "WINDOWED", "Bill", "bill_of", "name_of", "sides"]

KINDS = ("normalisation", "activation", "pooling", "elementwise", "resampling")


class Bill(NamedTuple):
    """What an operation costs: `macs`, or `flops` of another kind; `known` is False where nobody can say."""

    macs: int = 0
    kind: str = ""
    flops: int = 0
    known: bool = True


def _convolution(args: tuple[Any, ...], out: Tensor) -> int:
    """Each output value takes the kernels of its group: `C_in / groups * k * k`. Transposed: each input value does."""
    x, weight, transposed = args[0], args[1], args[6]
    return int((x if transposed else out).numel() * prod(weight.shape[1:]))


MACS: dict[str, Callable[[tuple[Any, ...], Tensor], int]] = {
    "convolution": _convolution,
    "mm": lambda args, out: out.numel() * args[0].shape[-1],
    "bmm": lambda args, out: out.numel() * args[0].shape[-1],
    "linear": lambda args, out: out.numel() * args[0].shape[-1],
    "addmm": lambda args, out: out.numel() * args[1].shape[-1],
    "baddbmm": lambda args, out: out.numel() * args[1].shape[-1],
    "addbmm": lambda args, out: out.numel() * args[1].shape[-1] * args[1].shape[0],
    "_scaled_dot_product_flash_attention_for_cpu": lambda args, out: 2 * args[0].numel() * args[1].shape[-2],
    "mv": lambda args, out: args[0].numel(),
    "addmv": lambda args, out: args[1].numel(),
    "dot": lambda args, out: args[0].numel(),
    "vdot": lambda args, out: args[0].numel(),
}
NORMALISATION = {
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_with_update",
    "_batch_norm_no_update", "cudnn_batch_norm", "miopen_batch_norm", "native_layer_norm", "native_group_norm",
    "_fused_rms_norm", "_weight_norm_interface",
}  # fmt: skip
ACTIVATION = {
    "relu", "hardtanh", "threshold", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh",
    "hardsigmoid", "hardswish", "softplus", "softshrink", "hardshrink", "log_sigmoid_forward", "_prelu_kernel",
    "rrelu_with_noise", "_softmax", "_log_softmax", "_safe_softmax", "glu",
}  # fmt: skip
WINDOWED = {  # and over how many axes
    "max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3, "avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3,
}  # fmt: skip
POOLING = {"_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "mean"}
READING = {
    "sum", "amax", "amin", "max", "min", "prod", "var", "var_mean", "std", "norm", "linalg_vector_norm", "argmax",
    "argmin", "any", "all", "logsumexp", "cumsum", "cumprod", "count_nonzero", "sort", "topk",
}  # fmt: skip
RESAMPLING = {"upsample_linear1d": 3, "upsample_bilinear2d": 7, "upsample_trilinear3d": 15, "upsample_bicubic2d": 31}
FREE = {
    "cat", "stack", "clone", "copy", "_to_copy", "_unsafe_view", "_reshape_copy", "resize", "empty", "empty_strided",
    "empty_like", "new_empty", "new_empty_strided", "zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones",
    "full", "full_like", "new_full", "fill", "zero", "arange", "linspace", "eye", "scalar_tensor", "lift_fresh",
    "lift_fresh_copy", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
    "replication_pad2d", "roll", "flip", "repeat", "index", "index_select", "index_put", "_unsafe_index", "gather",
    "scatter", "embedding", "masked_fill", "where", "tril", "triu", "pixel_shuffle", "pixel_unshuffle",
    "native_channel_shuffle", "channel_shuffle", "im2col", "col2im", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "_upsample_nearest_exact2d", "bernoulli", "native_dropout", "rand", "rand_like", "randn",
    "randn_like", "randint", "randperm", "uniform", "normal", "slice_scatter", "select_scatter", "set_data",
    "max_unpool2d", "unsafe_split", "split_with_sizes_copy", "_local_scalar_dense", "is_same_size", "rot90",
    "unbind", "as_strided", "transpose", "squeeze", "unsqueeze", "t", "swapaxes", "detach",
    "reflection_pad3d", "replication_pad3d",
}  # fmt: skip


def name_of(operation: Any) -> str:
    """The operation's name without its library, its overload and the mark of those that work in place."""
    name: str = operation.overloadpacket.__name__
    return name if name.startswith("__") else name.rstrip("_")


def sides(given: Sequence[int], axes: int) -> tuple[int, ...]:
    """A window's or a stride's side on each axis; torch writes one number where all are equal."""
    return tuple(given) if len(given) == axes else tuple(given) * axes


def bill_of(operation: Any, args: tuple[Any, ...], out: Any) -> Bill:
    """What a call costs that took `args` and gave `out`."""
    name = name_of(operation)
    values = _values(out)
    if name == "deform_conv2d":
        return Bill(macs=values * prod(args[1].shape[1:]))
    if operation.namespace != "aten":
        return _registered(operation, args, out) or Bill(known=not values)
    if name in MACS:
        return Bill(macs=int(MACS[name](args, out)))
    if name in NORMALISATION:
        return Bill(kind="normalisation", flops=2 * values)
    if name in ACTIVATION:
        return Bill(kind="activation", flops=values)
    if name in WINDOWED:
        return Bill(kind="pooling", flops=values * prod(sides(args[1], WINDOWED[name])))
    if name in POOLING or name in READING:
        return Bill(kind="pooling" if name in POOLING else "elementwise", flops=args[0].numel())
    if name in RESAMPLING:
        return Bill(kind="resampling", flops=RESAMPLING[name] * values)
    if name in FREE or operation.is_view or not values:
        return Bill()
    if torch.Tag.pointwise in operation.tags:
        return Bill(kind="elementwise", flops=values)
    return _registered(operation, args, out) or Bill(known=False)


def _values(out: Any) -> int:
    """How many values the (first) tensor that came out holds."""
    first = out[0] if isinstance(out, tuple | list) and out else out
    return first.numel() if isinstance(first, Tensor) else 0


def _registered(operation: Any, args: tuple[Any, ...], out: Any) -> Bill | None:
    """By torch's own formulas, where it has one: fused attention above all."""
    formula = flop_registry.get(operation.overloadpacket)
    return None if formula is None else Bill(macs=int(formula(*args, out_val=out)) // 2)
