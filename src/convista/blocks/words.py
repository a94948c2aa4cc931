"""The words of a table: convolution, normalisation, activation, dropout and the fully connected layer.

Each is frozen data; called with its input width it builds a plain module whose leaves bear the names
`conv`, `norm`, `act`, `linear`. All maps are `(N, C, H, W)`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from convista.blocks.base import Block, In, Reach, Side, Size, Width, absolute
from convista.blocks.windows import Padding, SameConv2d, both, paddings, window
from convista.errors import InputError
from convista.registry import Registry

__all__ = [
    "ACTIVATIONS",
    "Act",
    "Conv",
    "Dropout",
    "Linear",
    "LocalResponseNorm",
    "Norm",
    "ScaledTanh",
    "SqueezeExcite",
    "activation",
    "overwrite_input",
]


class ScaledTanh(nn.Module):
    """`1.7159 tanh(2/3 x)`, the squashing function of LeNet-5 (LeCun et al. 1998, equation 6 and appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


ACTIVATIONS: Registry[type[nn.Module]] = Registry(
    "activation",
    gelu=nn.GELU,
    relu=nn.ReLU,
    relu6=nn.ReLU6,
    scaled_tanh=ScaledTanh,
    sigmoid=nn.Sigmoid,
    silu=nn.SiLU,
    tanh=nn.Tanh,
)


def activation(kind: str, inplace: bool = False) -> nn.Module:
    """The activation called `kind` as a module; `inplace` saves memory where the activation can work in place."""
    module = ACTIVATIONS[kind]()
    if inplace and hasattr(module, "inplace"):
        setattr(module, "inplace", True)  # noqa: B010  # torch's types know no such attribute
    return module


def overwrite_input(module: nn.Module) -> None:
    """Lets an activation that comes first in `module` work in place, where nobody else needs what comes in."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[0]
    if type(module) in ACTIVATIONS.values() and hasattr(module, "inplace"):
        setattr(module, "inplace", True)  # noqa: B010  # torch's types know no such attribute


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
class LocalResponseNorm(Block):
    """`x / (k + alpha * sum of squares over n neighbouring channels) ** beta` (Krizhevsky et al. 2012, section 3.3).

    (N, C, H, W) -> (N, C, H, W). `alpha` multiplies the sum, as printed there; torch and Caffe multiply the mean.
    """

    n: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75

    def __call__(self, width: int) -> nn.Module:
        return nn.LocalResponseNorm(self.n, alpha=self.n * self.alpha, beta=self.beta, k=self.k)

    def overwritable(self) -> bool:
        return False

    def text(self) -> str:
        return f"local response norm over {self.n}"


@dataclass(frozen=True)
class Act(Block):
    """An activation, by its name in `ACTIVATIONS`. Any shape -> the same shape."""

    kind: str = "relu"

    def __call__(self, width: int) -> nn.Module:
        return activation(self.kind)

    def overwritable(self) -> bool:
        return False

    def text(self) -> str:
        return self.kind.replace("_", " ")


@dataclass(frozen=True)
class Conv(Block):
    """Convolution, normalisation, activation: the row of most tables. (N, C, H, W) -> (N, width, H', W').

    `width` and `groups` may be relative to the input: `Conv(IN, 3, groups=IN)` is a depthwise convolution,
    `Conv(6 * IN, 1)` widens six times. `kernel` is a side or (height, width). Padding is `kernel // 2` unless given
    in pixels, so that only the stride shrinks a map; `"same"` is TensorFlow's, which pads more at the end.
    There is a bias where there is no normalisation, unless `bias` says otherwise. `order` is that of the leaves:
    `"norm act conv"` is a pre-activation. Raises `InputError` when `groups` does not divide both widths.

    >>> Conv(64, 7, stride=2).text()
    '7x7, 64'
    >>> list(dict(Conv(64, 7, stride=2)(3).named_children()))
    ['conv', 'norm', 'act']
    >>> Conv(64, 7, stride=2)(3).conv
    Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    >>> Conv(192, (1, 7)).size((17, 17))
    (17, 17)
    """

    width: Width
    kernel: Side = 3
    stride: int = 1
    groups: Width = 1
    padding: Padding = None
    norm: Norm | None = Norm()
    act: str | None = "relu"
    bias: bool | None = None
    order: str = "conv norm act"
    dilation: int = 1

    def __call__(self, width: int) -> nn.Module:
        norm_width = self.out(width) if self.order.index("conv") < self.order.index("norm") else width
        made = {
            "conv": self._conv(width),
            "norm": self.norm(norm_width) if self.norm else None,
            # what enters the block may be needed elsewhere: only what the block made itself is overwritten
            "act": activation(self.act, inplace=not self.order.startswith("act")) if self.act else None,
        }
        leaves = ((name, made[name]) for name in self.order.split())
        return nn.Sequential(OrderedDict((name, leaf) for name, leaf in leaves if leaf is not None))

    def _conv(self, width: int) -> nn.Module:
        out, groups = self.out(width), absolute(self.groups, width)
        if out < 1:
            raise InputError(f"A convolution with a width of {out} was asked for; it must be at least 1.")
        if width % groups or out % groups:
            raise InputError(f"{groups} groups do not divide {width} input and {out} output channels.")
        bias = self.norm is None if self.bias is None else self.bias
        if self.padding == "same" and self.stride > 1:
            return SameConv2d(width, out, self.kernel, self.stride, 0, self.dilation, groups, bias)
        padding = paddings(self.padding, self.kernel, self.dilation)
        return nn.Conv2d(width, out, self.kernel, self.stride, padding, self.dilation, groups, bias)

    def out(self, width: int) -> int:
        return absolute(self.width, width)

    def reduction(self) -> int:
        return self.stride

    def size(self, size: Size) -> Size:
        return window(size, self.kernel, self.stride, self.padding, self.dilation)

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        stride, behind = reach.step(self.stride)
        return replace(self, stride=stride, dilation=self.dilation * reach.dilation), behind

    def overwritable(self) -> bool:
        return not (self.act and self.order.endswith("act"))

    def text(self) -> str:
        depthwise = isinstance(self.groups, In)
        groups = " depthwise" if depthwise else f", {self.groups} groups" if self.groups != 1 else ""
        rate = f", dilation {self.dilation}" if self.dilation > 1 and both(self.kernel) != (1, 1) else ""
        return "{}x{}".format(*both(self.kernel)) + groups + ("" if depthwise else f", {self.width}") + rate


class Excitation(nn.Module):
    """What `SqueezeExcite` builds: `pool`, `squeeze`, `excite`, and the product `scale`."""

    def __init__(self, width: int, squeezed: int, act: str):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = Conv(squeezed, 1, norm=None, act=act)(width)
        self.excite = Conv(width, 1, norm=None, act="sigmoid")(squeezed)
        self.scale = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.scale(x, self.excite(self.squeeze(self.pool(x))))  # type: ignore[no-any-return]


class Scale(nn.Module):
    """The product of a map and one factor per channel, as a module of its own so that it can be looked at."""

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        """(N, C, H, W) and (N, C, 1, 1) -> (N, C, H, W)."""
        return x * factor


@dataclass(frozen=True)
class SqueezeExcite(Block):
    """Each channel times a factor in 0..1 that all positions decide together (Hu et al. 2017, section 3).

    (N, C, H, W) -> (N, C, H, W). Two 1x1 convolutions with biases, the first to `width` channels, which may be
    relative to the input: `SqueezeExcite(IN / 16)` is the paper's.
    """

    width: Width
    act: str = "relu"

    def __call__(self, width: int) -> nn.Module:
        return Excitation(width, max(1, absolute(self.width, width)), self.act)

    def text(self) -> str:
        return f"squeeze-excite {self.width}"


@dataclass(frozen=True)
class Dropout(Block):
    """Zeroes each value with `probability` while training (Srivastava et al. 2014). Any shape -> the same shape."""

    a_map: ClassVar[bool] = False
    probability: float = 0.5

    def __call__(self, width: int) -> nn.Module:
        return nn.Dropout(self.probability)

    def overwritable(self) -> bool:
        return False

    def text(self) -> str:
        return f"dropout {self.probability:g}"


@dataclass(frozen=True)
class Linear(Block):
    """A fully connected layer with bias, and its activation. (N, C) -> (N, width)."""

    a_map: ClassVar[bool] = False
    width: int
    act: str | None = "relu"

    def __call__(self, width: int) -> nn.Module:
        leaves: OrderedDict[str, nn.Module] = OrderedDict(linear=nn.Linear(width, self.width))
        if self.act:
            leaves["act"] = activation(self.act, inplace=True)
        return nn.Sequential(leaves)

    def out(self, width: int) -> int:
        return self.width

    def overwritable(self) -> bool:
        return not self.act

    def text(self) -> str:
        return f"{self.width}-way linear"
