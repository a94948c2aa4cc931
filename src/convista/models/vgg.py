"""VGG (Simonyan, Zisserman 2014), table 1."""

from __future__ import annotations

from functools import partial

from convista.blocks import Block, Chain, Conv, Dropout, Flatten, Linear, Norm, Pool
from convista.models.cards import Card, Paper, register

__all__ = ["vgg"]

PAPER = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    "Simonyan, Zisserman",
    2014,
    "arXiv:1409.1556",
)
WIDTHS = (64, 128, 256, 512, 512)

# Table 1: the number of 3x3 convolutions in front of each pooling.
TABLE_1 = {
    "vgg11": (1, 1, 2, 2, 2),  # A
    "vgg13": (2, 2, 2, 2, 2),  # B
    "vgg16": (2, 2, 3, 3, 3),  # D
    "vgg19": (2, 2, 4, 4, 4),  # E
}


def vgg(depths: tuple[int, ...], norm: Norm | None = None, classes: int = 1000) -> Chain:
    """Table 1. (N, 3, 224, 224) -> (N, classes)."""
    rows: dict[str, Block] = {}
    for i, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True), start=1):
        rows |= {f"conv{i}_{j + 1}": Conv(width, 3, norm=norm, bias=True) for j in range(depth)}
        rows[f"pool{i}"] = Pool(2)
    return Chain(
        **rows,  # 7 x 7
        flatten=Flatten(7),
        fc6=Linear(4096),
        drop6=Dropout(0.5),
        fc7=Linear(4096),
        drop7=Dropout(0.5),
        fc8=Linear(classes, act=None),
    )


NORMALISED = "Batch normalisation behind each convolution came later; the convolutions keep their biases."
for name, depths in TABLE_1.items():
    register(Card(name, "vgg", PAPER, partial(vgg, depths, None)))
    register(Card(f"{name}_bn", "vgg", PAPER, partial(vgg, depths, Norm()), departures=NORMALISED))
