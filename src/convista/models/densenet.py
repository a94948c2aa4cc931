"""DenseNet (Huang, Liu, van der Maaten, Weinberger 2016), table 1 for ImageNet, section 3 for CIFAR-10."""

from __future__ import annotations

from functools import partial

from convista.blocks import Act, Block, Chain, Conv, Dense, Head, Norm, Pool
from convista.models.cards import Card, Paper, register

__all__ = ["densenet", "densenet_cifar", "layer"]

PAPER = Paper(
    "Densely Connected Convolutional Networks", "Huang, Liu, van der Maaten, Weinberger", 2016, "arXiv:1608.06993"
)
conv = partial(Conv, order="norm act conv", bias=False)


def layer(growth: int, bottleneck: bool = True) -> Dense:
    """The composite function: 1x1 to four times the growth where there is a bottleneck, then 3x3."""
    return Dense(Chain(reduce=conv(4 * growth, 1) if bottleneck else None, conv=conv(growth, 3)))


def blocks(repeats: tuple[int, ...], growth: int, width: int, theta: float = 0.5, bottleneck: bool = True) -> Chain:
    """Dense blocks, and between them transitions that compress by `theta` (section 3)."""
    rows: dict[str, Block] = {}
    for i, n in enumerate(repeats, start=1):
        rows[f"dense{i}"] = Chain(**{f"layer{j + 1}": layer(growth, bottleneck) for j in range(n)})
        width += n * growth
        if i < len(repeats):
            width = int(width * theta)
            rows[f"transition{i}"] = Chain(conv=conv(width, 1), pool=Pool(2, kind="average"))
    return Chain(**rows)


def densenet(repeats: tuple[int, ...], growth: int = 32, classes: int = 1000) -> Chain:
    """Table 1. (N, 3, 224, 224) -> (N, classes)."""
    return Chain(
        conv1=Conv(2 * growth, 7, 2),  # 112 x 112
        pool1=Pool(3, 2),  # 56
        **dict(blocks(repeats, growth, 2 * growth).rows),  # 7
        norm=Norm(),
        act=Act(),
        head=Head(classes),
    )


def densenet_cifar(depth: int, bottleneck: bool, growth: int = 12, classes: int = 10) -> Chain:
    """Section 3, implementation details: three blocks on 32 x 32 pictures. (N, 3, 32, 32) -> (N, classes)."""
    n = (depth - 4) // (6 if bottleneck else 3)
    width, theta = (2 * growth, 0.5) if bottleneck else (16, 1.0)
    return Chain(
        conv1=Conv(width, 3, norm=None, act=None, bias=False),
        **dict(blocks((n, n, n), growth, width, theta, bottleneck).rows),
        norm=Norm(),
        act=Act(),
        head=Head(classes),
    )


# Table 1: layers in each block, and the growth rate k.
TABLE_1 = {
    "densenet121": ((6, 12, 24, 16), 32),
    "densenet169": ((6, 12, 32, 32), 32),
    "densenet201": ((6, 12, 48, 32), 32),
    "densenet161": ((6, 12, 36, 24), 48),
}
DROPOUT = "Without the dropout of 0.2 that the paper uses where pictures are not augmented."
for name, (repeats, growth) in TABLE_1.items():
    register(Card(name, "densenet", PAPER, partial(densenet, repeats, growth)))
for name, depth, bottleneck in (("densenet40", 40, False), ("densenet_bc100", 100, True)):
    maker = partial(densenet_cifar, depth, bottleneck, 12)
    register(Card(name, "densenet_cifar", PAPER, maker, image=32, classes=10, departures=DROPOUT))
