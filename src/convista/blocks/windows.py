"""The arithmetic of sliding windows: padding, output sizes, and TensorFlow's "same" padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import DoesNotFitError, Side, Size

__all__ = [
    "Conv2d",
    "DilatedPool2d",
    "Padding",
    "SameAvgPool2d",
    "SameConv2d",
    "SameMaxPool2d",
    "both",
    "paddings",
    "slides",
    "window",
]

Padding = Side | str | None


def both(side: Side) -> tuple[int, int]:
    """(height, width) of a side that may be one number."""
    return side if isinstance(side, tuple) else (side, side)


def paddings(padding: Padding, kernel: Side, dilation: int) -> tuple[int, int]:
    """Rows and columns of zeros at each border; half the kernel where nothing or "same" is asked for."""
    given = None if isinstance(padding, str | None) else both(padding)
    sides = given or tuple(k // 2 for k in both(kernel))
    return sides[0] * dilation, sides[1] * dilation


def window(size: Size, kernel: Side, stride: int, padding: Padding, dilation: int = 1, ceil_mode: bool = False) -> Size:
    """(height, width) of the map that a sliding window makes. Raises `DoesNotFitError` when it does not fit once."""
    if padding == "same":
        return -(-size[0] // stride), -(-size[1] // stride)
    pads = paddings(padding, kernel, dilation)
    height, width = (
        slides(n, dilation * (k - 1) + 1, stride, p, ceil_mode)
        for n, k, p in zip(size, both(kernel), pads, strict=True)
    )
    if min(height, width) < 1:
        seen = "{}x{}".format(*(dilation * (k - 1) + 1 for k in both(kernel)))
        raise DoesNotFitError(f"a {seen} window does not fit into a map of {size[0]}x{size[1]}")
    return height, width


def slides(n: int, extent: int, stride: int, pad: int, ceil_mode: bool = False) -> int:
    """How often a window of `extent` pixels stands on `n` of them, with `pad` zeros at either end; 0 if not once."""
    room = n + 2 * pad - extent
    if room < 0:
        return 0
    if not ceil_mode:
        return room // stride + 1
    steps = -(-room // stride) + 1
    return steps - 1 if (steps - 1) * stride >= n + pad else steps  # no window may start in the padding at the end


def pad_same(x: Tensor, kernel: Side, stride: Side, dilation: Side, value: float = 0.0) -> Tensor:
    """TensorFlow's "same": as much padding as makes `ceil(n / stride)` windows, the odd pixel at the end."""
    pads = [0, 0, 0, 0]
    for axis, (k, s, d) in enumerate(zip(both(kernel), both(stride), both(dilation), strict=True)):
        n = x.shape[2 + axis]
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pads[2 - 2 * axis : 4 - 2 * axis] = [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Conv2d(nn.Conv2d):
    """A convolution that a processor also learns fast in bfloat16. (N, C, H, W) -> (N, C', H', W').

    With a stride and one map per group, oneDNN's gradient in bfloat16 takes up to 30 times as long as in float32
    (docs/results/speed.md), so that these few are computed in float32 where a gradient will be asked for.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        if not (self._slow and input.device.type == "cpu" and torch.is_grad_enabled() and _in_bfloat16()):
            return super()._conv_forward(input, weight, bias)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            exact: Tensor = super()._conv_forward(input.float(), weight.float(), None if bias is None else bias.float())
        return exact.to(torch.bfloat16)

    @property
    def _slow(self) -> bool:
        return 1 < self.groups == self.in_channels and max(self.stride) > 1


def _in_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16


class SameConv2d(Conv2d):
    """A convolution with TensorFlow's "same" padding. (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        x = pad_same(x, self.kernel_size, self.stride, self.dilation)  # type: ignore[arg-type]
        return self._conv_forward(x, self.weight, self.bias)


class SameMaxPool2d(nn.MaxPool2d):
    """The maximum over windows with TensorFlow's "same" padding; with `zeros` the padding counts as zero."""

    def __init__(self, kernel: int, stride: int, zeros: bool = False):
        super().__init__(kernel, stride)
        self.value = 0.0 if zeros else float("-inf")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        padded = pad_same(x, self.kernel_size, self.stride, self.dilation, self.value)
        return super().forward(padded)  # type: ignore[no-any-return]


class SameAvgPool2d(nn.AvgPool2d):
    """The mean over windows with TensorFlow's "same" padding, which counts in the mean if `count_include_pad`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        mean = super().forward(pad_same(x, self.kernel_size, self.stride, 1))
        if self.count_include_pad:
            return mean
        return mean / super().forward(pad_same(torch.ones_like(x[:1, :1]), self.kernel_size, self.stride, 1))


class DilatedPool2d(nn.Module):
    """The maximum or mean over a window with gaps, at every position. (N, C, H, W) -> (N, C, H', W').

    `padding` is (before, after) in pixels, in both directions; `count` says whether it counts in a mean.
    """

    def __init__(self, kernel: int, kind: str, dilation: int, padding: tuple[int, int], count: bool):
        super().__init__()
        self.kernel, self.dilation, self.padding = kernel, dilation, padding * 2
        self.max, self.count = kind == "max", count

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        if self.max:
            return F.max_pool2d(F.pad(x, self.padding, value=float("-inf")), self.kernel, 1, 0, self.dilation)
        mean = self._mean(x)
        return mean if self.count else mean / self._mean(torch.ones_like(x[:1, :1]))

    def _mean(self, x: Tensor) -> Tensor:
        weight = x.new_full((1, 1, self.kernel, self.kernel), self.kernel**-2)
        flat = F.pad(x, self.padding).flatten(0, 1).unsqueeze(1)
        mean = F.conv2d(flat, weight, dilation=self.dilation)
        return mean.reshape(x.shape[0], x.shape[1], mean.shape[2], mean.shape[3])
