"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, figure 2)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks import Act, Block, Chain, Conv, Dense, Flatten, Pool
from convista.models.cards import Card, Paper, register

__all__ = ["RadialBasis", "SparseConv", "Subsample", "lenet5", "lenet5_sparse"]

PAPER = Paper(
    "Gradient-Based Learning Applied to Document Recognition",
    "LeCun, Bottou, Bengio, Haffner",
    1998,
    "Proceedings of the IEEE 86(11)",
)
conv = partial(Conv, kernel=5, padding=0, norm=None, act="scaled_tanh")

# Table I: the maps of S2 (rows) that each map of C3 (columns) looks at.
TABLE_1 = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def lenet5(classes: int = 10) -> Chain:
    """Figure 2 with a dense C3. (N, 1, 32, 32) -> (N, classes)."""
    return Chain(
        c1=conv(6),  # 28 x 28
        s2=Pool(2, kind="average"),  # 14
        c3=conv(16),  # 10
        s4=Pool(2, kind="average"),  # 5
        c5=conv(120),  # 1
        flatten=Flatten(),
        f6=Dense(84, act="scaled_tanh"),
        output=Dense(classes, act=None),
    )


def lenet5_sparse(classes: int = 10) -> Chain:
    """Figure 2 and table I to the letter: 60,000 trainable parameters. (N, 1, 32, 32) -> (N, classes)."""
    return Chain(
        c1=conv(6),
        s2=Subsample(),
        c3=SparseConv(TABLE_1, 5),
        s4=Subsample(),
        c5=conv(120),
        flatten=Flatten(),
        f6=Dense(84, act="scaled_tanh"),
        output=RadialBasis(classes),
    )


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
        return nn.Sequential(OrderedDict(pool=Subsampling(width), act=Act("scaled_tanh")(width)))

    def reduction(self) -> int:
        return 2

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
        return nn.Sequential(
            OrderedDict(conv=SparseConv2d(self.connections, self.kernel), act=Act("scaled_tanh")(width))
        )

    def out(self, width: int) -> int:
        return len(self.connections[0])

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

    classes: int

    def __call__(self, width: int) -> nn.Module:
        return RadialBasisOutput(width, self.classes)

    def out(self, width: int) -> int:
        return self.classes

    def text(self) -> str:
        return f"{self.classes} radial basis units, fixed codes"


for card in (
    Card(
        "lenet5",
        "lenet",
        PAPER,
        lenet5,
        image=32,
        channels=1,
        classes=10,
        init="lecun",
        departures="C3 is dense; S2 and S4 are plain means; the output layer is linear.",
    ),
    Card(
        "lenet5_sparse",
        "lenet",
        PAPER,
        lenet5_sparse,
        image=32,
        channels=1,
        classes=10,
        init="lecun",
        departures="The codes of the output layer are drawn at random instead of by hand (section II.B allows both).",
    ),
):
    register(card)
