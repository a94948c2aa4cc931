"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen 2018), table 2."""

from __future__ import annotations

from functools import partial

from convista.blocks import IN, Chain, Conv, Head, Residual
from convista.models.cards import Card, Paper, register

__all__ = ["inverted", "mobilenet_v2"]

PAPER = Paper(
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    "Sandler, Howard, Zhu, Zhmoginov, Chen",
    2018,
    "arXiv:1801.04381",
)
conv = partial(Conv, act="relu6")

# Table 2: expansion t, width c, repeats n, stride s.
TABLE_2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def inverted(width: int, stride: int = 1, expand: int = 6) -> Residual:
    """Table 1: 1x1 up to `expand` times the input, 3x3 depthwise, 1x1 down without activation."""
    return Residual(
        Chain(
            expand=conv(expand * IN, 1) if expand > 1 else None,
            depthwise=conv(IN, 3, stride, groups=IN),
            project=conv(width, 1, act=None),
        ),
        shortcut="none",
        act=None,
    )


def mobilenet_v2(classes: int = 1000) -> Chain:
    """Table 2. (N, 3, 224, 224) -> (N, classes)."""
    bottlenecks = {
        f"bottleneck{i + 1}": Chain(**{f"block{j + 1}": inverted(c, s if j == 0 else 1, t) for j in range(n)})
        for i, (t, c, n, s) in enumerate(TABLE_2)
    }
    return Chain(conv1=conv(32, 3, 2), **bottlenecks, conv9=conv(1280, 1), head=Head(classes, dropout=0.2))


register(
    Card(
        "mobilenet_v2",
        "mobilenet_v2",
        PAPER,
        mobilenet_v2,
        departures="Padding is symmetric, as in torchvision; the authors' TensorFlow code pads asymmetrically.",
    )
)
