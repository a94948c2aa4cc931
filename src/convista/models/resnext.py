"""ResNeXt (Xie, Girshick, Dollár, Tu, He 2016), table 1."""

from __future__ import annotations

from functools import partial

from convista.blocks import Residual
from convista.models.cards import Card, Paper, register
from convista.models.resnet import bottleneck, resnet

__all__ = ["grouped"]

PAPER = Paper(
    "Aggregated Residual Transformations for Deep Neural Networks",
    "Xie, Girshick, Dollár, Tu, He",
    2016,
    "arXiv:1611.05431",
)


def grouped(groups: int, group_width: int, width: int, stride: int = 1) -> Residual:
    """ResNet's bottleneck with `groups` groups on its 3x3 (figure 3c); `group_width` is that of conv2_x."""
    return bottleneck(width, stride, groups, width * group_width // 64 * groups)


# Cardinality C and bottleneck width d.
TABLE = {
    "resnext50_32x4d": (32, 4, (3, 4, 6, 3)),
    "resnext101_32x4d": (32, 4, (3, 4, 23, 3)),
    "resnext101_64x4d": (64, 4, (3, 4, 23, 3)),
    "resnext101_32x8d": (32, 8, (3, 4, 23, 3)),
}
for name, (cardinality, width, depths) in TABLE.items():
    register(Card(name, "resnext", PAPER, partial(resnet, partial(grouped, cardinality, width), depths)))
