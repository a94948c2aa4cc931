"""The words of a table: convolution, normalisation, activation, pooling, and the layers of the head.

Each is frozen data; called with its input width it builds a plain module whose leaves bear the names
`conv`, `norm`, `act`, `pool`, `linear`. All maps are `(N, C, H, W)`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import Block, In, Width, absolute
from convista.errors import InputError
from convista.registry import Registry

__all__ = ["ACTIVATIONS", "Act", "Conv", "Dense", "Dropout", "Flatten", "Head", "Norm", "Pool", "ScaledTanh"]


class ScaledTanh(nn.Module):
    """`1.7159 tanh(2/3 x)`, the squashing function of LeNet-5 (LeCun et al. 1998, equation 6 and appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def _relu6() -> nn.Module:
    return nn.ReLU6(inplace=True)


ACTIVATIONS = Registry("activation", relu=_relu, relu6=_relu6, scaled_tanh=ScaledTanh, tanh=nn.Tanh)


@dataclass(frozen=True)
class Norm(Block):
    """Batch normalisation over each channel (Ioffe and Szegedy 2015). (N, C, H, W) -> (N, C, H, W)."""

    eps: float = 1e-5
    momentum: float = 0.1

    def __call__(self, width: int) -> nn.Module:
        return nn.BatchNorm2d(width, eps=self.eps, momentum=self.momentum)

    def text(self) -> str:
        return "batch norm"


@dataclass(frozen=True)
class Act(Block):
    """An activation, by its name in `ACTIVATIONS`. Any shape -> the same shape."""

    kind: str = "relu"

    def __call__(self, width: int) -> nn.Module:
        return ACTIVATIONS[self.kind]()

    def text(self) -> str:
        return self.kind.replace("_", " ")


@dataclass(frozen=True)
class Conv(Block):
    """Convolution, normalisation, activation: the row of most tables. (N, C, H, W) -> (N, width, H', W').

    `width` and `groups` may be relative to the input: `Conv(IN, 3, groups=IN)` is a depthwise convolution,
    `Conv(6 * IN, 1)` widens six times. Padding is `kernel // 2` unless given, so that only the stride shrinks a map.
    There is a bias where there is no normalisation. Raises `InputError` when `groups` does not divide both widths.

    >>> Conv(64, 7, stride=2).text()
    '7x7, 64'
    >>> list(dict(Conv(64, 7, stride=2)(3).named_children()))
    ['conv', 'norm', 'act']
    >>> Conv(64, 7, stride=2)(3).conv
    Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    """

    width: Width
    kernel: int = 3
    stride: int = 1
    groups: Width = 1
    padding: int | None = None
    norm: Norm | None = Norm()
    act: str | None = "relu"

    def __call__(self, width: int) -> nn.Module:
        out, groups = self.out(width), absolute(self.groups, width)
        if out < 1:
            raise InputError(f"A convolution with a width of {out} was asked for; it must be at least 1.")
        if width % groups or out % groups:
            raise InputError(f"{groups} groups do not divide {width} input and {out} output channels.")
        padding = self.kernel // 2 if self.padding is None else self.padding
        leaves: OrderedDict[str, nn.Module] = OrderedDict()
        leaves["conv"] = nn.Conv2d(width, out, self.kernel, self.stride, padding, groups=groups, bias=self.norm is None)
        if self.norm:
            leaves["norm"] = self.norm(out)
        if self.act:
            leaves["act"] = Act(self.act)(out)
        return nn.Sequential(leaves)

    def out(self, width: int) -> int:
        return absolute(self.width, width)

    def reduction(self) -> int:
        return self.stride

    def text(self) -> str:
        depthwise = isinstance(self.groups, In)
        groups = " depthwise" if depthwise else f", {self.groups} groups" if self.groups != 1 else ""
        return f"{self.kernel}x{self.kernel}{groups}" + ("" if depthwise else f", {self.width}")


@dataclass(frozen=True)
class Pool(Block):
    """Maximum or mean over windows. (N, C, H, W) -> (N, C, H', W').

    The stride is the kernel's side and the padding `(kernel - 1) // 2` when windows overlap, else 0, unless given.
    """

    kernel: int
    stride: int | None = None
    kind: str = "max"

    def __call__(self, width: int) -> nn.Module:
        stride = self.reduction()
        padding = (self.kernel - 1) // 2 if stride < self.kernel else 0
        module = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}[self.kind](self.kernel, stride, padding)
        return nn.Sequential(OrderedDict(pool=module))

    def reduction(self) -> int:
        return self.stride or self.kernel

    def text(self) -> str:
        return f"{self.kernel}x{self.kernel} {self.kind} pool"


@dataclass(frozen=True)
class Flatten(Block):
    """(N, C, 1, 1) -> (N, C): from a map of one position to a vector. Larger maps are refused when the net is built."""

    def __call__(self, width: int) -> nn.Module:
        return nn.Flatten()

    def text(self) -> str:
        return "flatten"


@dataclass(frozen=True)
class Dropout(Block):
    """Zeroes each value with `probability` while training (Srivastava et al. 2014). Any shape -> the same shape."""

    probability: float = 0.5

    def __call__(self, width: int) -> nn.Module:
        return nn.Dropout(self.probability)

    def text(self) -> str:
        return f"dropout {self.probability:g}"


@dataclass(frozen=True)
class Dense(Block):
    """A fully connected layer with bias, and its activation. (N, C) -> (N, width)."""

    width: int
    act: str | None = "relu"

    def __call__(self, width: int) -> nn.Module:
        leaves: OrderedDict[str, nn.Module] = OrderedDict(linear=nn.Linear(width, self.width))
        if self.act:
            leaves["act"] = Act(self.act)(self.width)
        return nn.Sequential(leaves)

    def out(self, width: int) -> int:
        return self.width

    def text(self) -> str:
        return f"{self.width}-way linear"


class GlobalAveragePool(nn.Module):
    """The mean over all positions (Lin et al. 2013, section 3.2). (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


@dataclass(frozen=True)
class Head(Block):
    """Global average pooling and one linear layer: the end of most networks. (N, C, H, W) -> (N, classes) logits."""

    classes: int
    dropout: float = 0.0

    def __call__(self, width: int) -> nn.Module:
        leaves: OrderedDict[str, nn.Module] = OrderedDict(pool=GlobalAveragePool())
        if self.dropout:
            leaves["dropout"] = nn.Dropout(self.dropout)
        leaves["linear"] = nn.Linear(width, self.classes)
        return nn.Sequential(leaves)

    def out(self, width: int) -> int:
        return self.classes

    def text(self) -> str:
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"global average pool{dropout}, {self.classes}-way linear"
