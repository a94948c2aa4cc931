"""The layers that only LeNet-5 has (LeCun, Bottou, Bengio, Haffner 1998, section II.B)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import Block, Size
from convista.blocks.windows import window
from convista.blocks.words import ScaledTanh

__all__ = ["RadialBasis", "SparseConv", "SparseConv2d", "Subsample"]


class Subsampling(nn.Module):
    """The sum of each 2x2 window times one trainable coefficient per map, plus one trainable bias (section II.B)."""

    def __init__(self, width: int):
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((width, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2)."""
        return 4 * F.avg_pool2d(x, 2) * self.coefficient + self.bias


@dataclass(frozen=True)
class Subsample(Block):
    """LeNet-5's S layers: `Subsampling` and the squashing function. (N, C, H, W) -> (N, C, H / 2, W / 2)."""

    def __call__(self, width: int) -> nn.Module:
        return nn.Sequential(OrderedDict(pool=Subsampling(width), act=ScaledTanh()))

    def reduction(self) -> int:
        return 2

    def size(self, size: Size) -> Size:
        return window(size, 2, 2, 0)

    def text(self) -> str:
        return "2x2 trainable subsampling"


class SparseConv2d(nn.Module):
    """A convolution in which each output map sees some input maps only; `weight` holds just those kernels."""

    def __init__(self, table: tuple[str, ...], kernel: int):
        super().__init__()
        links = torch.tensor([[mark == "X" for mark in row] for row in table], device="cpu").T  # (out, in)
        self.kernel, self.links = kernel, [list(pair) for pair in links.nonzero().tolist()]
        self.out_channels, self.in_channels = links.shape
        self.weight = nn.Parameter(torch.empty(len(self.links), kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(self.out_channels))
        self.macs_per_position = self.weight.numel()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H - kernel + 1, W - kernel + 1)."""
        dense = x.new_zeros(self.out_channels, self.in_channels, self.kernel, self.kernel)
        to, fro = zip(*self.links, strict=True)
        dense = dense.index_put(
            (torch.tensor(to, device=x.device), torch.tensor(fro, device=x.device)), self.weight.to(x.dtype)
        )
        return F.conv2d(x, dense, self.bias)


@dataclass(frozen=True)
class SparseConv(Block):
    """LeNet-5's C3: a table of marks says which input map (row) feeds which output map (column)."""

    connections: tuple[str, ...]
    kernel: int

    def __call__(self, width: int) -> nn.Module:
        return nn.Sequential(OrderedDict(conv=SparseConv2d(self.connections, self.kernel), act=ScaledTanh()))

    def out(self, width: int) -> int:
        return len(self.connections[0])

    def size(self, size: Size) -> Size:
        return window(size, self.kernel, 1, 0)

    def text(self) -> str:
        links = sum(row.count("X") for row in self.connections)
        return f"{self.kernel}x{self.kernel}, {self.out(0)}, {links} of {len(self.connections) * self.out(0)} links"


class RadialBasisOutput(nn.Module):
    """Minus the squared distance to each class's fixed code of ±1 (equation 7): the largest logit is the nearest."""

    code: Tensor

    def __init__(self, width: int, classes: int):
        super().__init__()
        generator = torch.Generator().manual_seed(1998)
        code = torch.randint(0, 2, (classes, width), generator=generator, device="cpu") * 2.0 - 1
        self.register_buffer("code", code.to(torch.get_default_device()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) -> (N, classes)."""
        return -(x.unsqueeze(1) - self.code).square().sum(2)


@dataclass(frozen=True)
class RadialBasis(Block):
    """LeNet-5's output layer, without a trainable parameter. (N, width) -> (N, classes)."""

    a_map: ClassVar[bool] = False
    classes: int

    def __call__(self, width: int) -> nn.Module:
        return RadialBasisOutput(width, self.classes)

    def out(self, width: int) -> int:
        return self.classes

    def text(self) -> str:
        return f"{self.classes} radial basis units, fixed codes"
