"""MobileNet (Howard et al. 2017), table 1, and its width multipliers (table 6)."""

from __future__ import annotations

from functools import partial

from convista.blocks import IN, Chain, Conv, Head
from convista.models.cards import TENSORFLOW, Card, Paper, register

__all__ = ["mobilenet", "separable"]

PAPER = Paper(
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    "Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam",
    2017,
    "arXiv:1704.04861",
)
conv = partial(Conv, act="relu6")
# Table 1: width and stride of each depthwise separable convolution.
TABLE_1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def separable(width: int, stride: int = 1) -> Chain:
    """3x3 depthwise, then 1x1, each normalised and activated (figure 3, right)."""
    return Chain(depthwise=conv(IN, 3, stride, groups=IN), project=conv(width, 1))


def mobilenet(alpha: float = 1.0, classes: int = 1000) -> Chain:
    """Table 1, `alpha` times as wide. (N, 3, 224, 224) -> (N, classes)."""
    rows = {f"conv{i + 2}": separable(int(width * alpha), stride) for i, (width, stride) in enumerate(TABLE_1)}
    return Chain(conv1=conv(int(32 * alpha), 3, 2), **rows, head=Head(classes))


DEPARTURES = (
    "ReLU6 for ReLU, as in the authors' code; the last separable convolution has stride 1 (table 1 prints 2, but its "
    "map does not shrink); padding is symmetric, where the authors' code pads more at the end."
)
for suffix, alpha in (("", 1.0), ("_075", 0.75), ("_050", 0.5), ("_025", 0.25)):
    register(
        Card(
            f"mobilenet{suffix}",
            "mobilenet",
            PAPER,
            partial(mobilenet, alpha),
            departures=DEPARTURES,
            pixels=TENSORFLOW,
        )
    )
