"""From maps to smaller maps, to vectors, to logits: pooling, and the ends of networks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import Block, Reach, Size
from convista.blocks.windows import DilatedPool2d, SameAvgPool2d, SameMaxPool2d, window
from convista.registry import Registry

__all__ = ["Flatten", "GlobalAveragePool", "GlobalMaxPool", "Head", "Pool", "PoolTo"]


@dataclass(frozen=True)
class Pool(Block):
    """Maximum or mean over windows. (N, C, H, W) -> (N, C, H', W').

    The stride is the kernel's side unless given; the padding in pixels is `(kernel - 1) // 2` where windows overlap,
    else 0, unless given; `"same"` is TensorFlow's. `ceil_mode` lets a last window hang over the edge. `count_padding`
    says whether padding counts in a mean, and with `"same"` whether it counts as zero in a maximum.
    """

    kernel: int
    stride: int | None = None
    kind: str = "max"
    padding: int | str | None = None
    ceil_mode: bool = False
    count_padding: bool = True
    dilation: int = 1
    overhang: bool = False

    def __call__(self, width: int) -> nn.Module:
        return nn.Sequential(OrderedDict(pool=self._pool()))

    def _pool(self) -> nn.Module:
        k, stride, same = self.kernel, self.reduction(), self.padding == "same"
        if self.dilation > 1 or self.overhang:
            extent = self.dilation * (k - 1)
            before, after = (0, extent) if self.overhang else (self._pad * self.dilation,) * 2
            return DilatedPool2d(k, self.kind, self.dilation, (before, after), self.count_padding)
        if self.kind == "max":
            made = SameMaxPool2d(k, stride, self.count_padding) if same else None
            return made or nn.MaxPool2d(k, stride, self._pad, ceil_mode=self.ceil_mode)
        if same:
            return SameAvgPool2d(k, stride, count_include_pad=self.count_padding)
        return nn.AvgPool2d(k, stride, self._pad, self.ceil_mode, self.count_padding)

    @property
    def _pad(self) -> int:
        if self.padding is None or self.padding == "same":
            return (self.kernel - 1) // 2 if self.reduction() < self.kernel else 0
        return int(self.padding)

    def reduction(self) -> int:
        return self.stride or self.kernel

    def size(self, size: Size) -> Size:
        if self.overhang:
            return size
        padding = "same" if self.padding == "same" else self._pad
        return window(size, self.kernel, self.reduction(), padding, self.dilation, self.ceil_mode)

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        stride, behind = reach.step(self.reduction())
        dilation = self.dilation * reach.dilation
        if stride == self.reduction():
            return replace(self, dilation=dilation), behind
        overhang = self.ceil_mode or (self.padding is None and self._pad == 0)
        return replace(self, stride=1, padding=self._pad, dilation=dilation, overhang=overhang), behind

    def text(self) -> str:
        rate = f", dilation {self.dilation}" if self.dilation > 1 else ""
        return f"{self.kernel}x{self.kernel} {self.kind} pool{rate}"


@dataclass(frozen=True)
class PoolTo(Block):
    """The mean over as many windows as make a map of `side` x `side`. (N, C, H, W) -> (N, C, side, side)."""

    side: int

    def __call__(self, width: int) -> nn.Module:
        return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(self.side)))

    def size(self, size: Size) -> Size:
        return self.side, self.side

    def text(self) -> str:
        return f"average pool to {self.side}x{self.side}"


@dataclass(frozen=True)
class Flatten(Block):
    """From a map to a vector. (N, C, H, W) -> (N, C * side * side).

    Maps of another size than `side` are averaged to it first, so that the layers behind fit pictures of any size;
    at the size of the paper that changes nothing.
    """

    a_map: ClassVar[bool] = False
    side: int = 1

    def __call__(self, width: int) -> nn.Module:
        return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(self.side), flatten=nn.Flatten()))

    def out(self, width: int) -> int:
        return width * self.side**2

    def size(self, size: Size) -> Size:
        return 1, 1

    def text(self) -> str:
        return f"flatten {self.side}x{self.side}" if self.side > 1 else "flatten"


class GlobalAveragePool(nn.Module):
    """The mean over all positions (Lin et al. 2013, section 3.2). (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class GlobalMaxPool(nn.Module):
    """The maximum over all positions (Oquab et al. 2015, section 3). (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        return F.adaptive_max_pool2d(x, 1).flatten(1)


GLOBAL_POOLS: Registry[type[nn.Module]] = Registry("pooling", average=GlobalAveragePool, max=GlobalMaxPool)


@dataclass(frozen=True)
class Head(Block):
    """Global pooling and one linear layer: the end of most networks. (N, C, H, W) -> (N, classes) logits.

    `pool` is `"average"` or `"max"`; `dropout` is the probability with which a pooled value is zeroed while training.
    """

    a_map: ClassVar[bool] = False
    classes: int
    dropout: float = 0.0
    pool: str = "average"

    def __call__(self, width: int) -> nn.Module:
        leaves: OrderedDict[str, nn.Module] = OrderedDict(pool=GLOBAL_POOLS[self.pool]())
        if self.dropout:
            leaves["dropout"] = nn.Dropout(self.dropout)
        leaves["linear"] = nn.Linear(width, self.classes)
        return nn.Sequential(leaves)

    def out(self, width: int) -> int:
        return self.classes

    def size(self, size: Size) -> Size:
        return 1, 1

    def text(self) -> str:
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"global {self.pool} pool{dropout}, {self.classes}-way linear"
