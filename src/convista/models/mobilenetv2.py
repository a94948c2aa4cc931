"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen 2018), table 2."""

from __future__ import annotations

from functools import partial

from convista.blocks import IN, Chain, Conv, Head, Residual
from convista.models.cards import IMAGENET, TENSORFLOW, Card, Paper, register
from convista.models.scaling import wider

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


def mobilenet_v2(alpha: float = 1.0, classes: int = 1000) -> Chain:
    """Table 2, `alpha` times as wide. (N, 3, 224, 224) -> (N, classes)."""
    bottlenecks = {
        f"bottleneck{i + 1}": Chain(
            **{f"block{j + 1}": inverted(wider(c, alpha), s if j == 0 else 1, t) for j in range(n)}
        )
        for i, (t, c, n, s) in enumerate(TABLE_2)
    }
    last = conv(max(1280, wider(1280, alpha)), 1)
    return Chain(conv1=conv(wider(32, alpha), 3, 2), **bottlenecks, conv9=last, head=Head(classes, dropout=0.2))


DEPARTURES = "Padding is symmetric, as in torchvision; the authors' TensorFlow code pads more at the end."
WIDTHS = {"": 1.0, "_035": 0.35, "_050": 0.5, "_075": 0.75, "_130": 1.3, "_140": 1.4}
for suffix, alpha in WIDTHS.items():
    maker = partial(mobilenet_v2, alpha)
    pixels = TENSORFLOW if suffix else IMAGENET  # as TF-slim, and for width 1 torchvision, trained them
    register(Card(f"mobilenet_v2{suffix}", "mobilenet_v2", PAPER, maker, departures=DEPARTURES, pixels=pixels))
