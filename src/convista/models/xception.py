"""Xception (Chollet 2016), figure 5."""

from __future__ import annotations

from functools import partial

from convista.blocks import IN, Chain, Conv, Head, Pool, Residual
from convista.models.cards import TENSORFLOW, Card, Paper, register

__all__ = ["separable", "xception"]

PAPER = Paper("Xception: Deep Learning with Depthwise Separable Convolutions", "Chollet", 2016, "arXiv:1610.02357")
depthwise = partial(Conv, IN, 3, groups=IN, norm=None, act=None, bias=False)


def separable(width: int, order: str = "act conv") -> Chain:
    """A depthwise 3x3, then a 1x1, with nothing between them; the activation comes first, or last, or not at all."""
    first = depthwise(act="relu", order="act conv norm") if order == "act conv" else depthwise()
    return Chain(depthwise=first, project=Conv(width, 1, act="relu" if order == "conv act" else None))


def block(inner: int, width: int, act_first: bool = True) -> Residual:
    """Two separable convolutions and a pooling, beside a strided projection."""
    first = separable(inner, "act conv" if act_first else "conv")
    return Residual(Chain(conv1=first, conv2=separable(width), pool=Pool(3, 2)), act=None)


def middle() -> Residual:
    """Three separable convolutions, beside the identity."""
    return Residual(Chain(conv1=separable(728), conv2=separable(728), conv3=separable(728)), act=None)


def xception(classes: int = 1000) -> Chain:
    """Figure 5: entry, middle and exit flow. (N, 3, 299, 299) -> (N, classes)."""
    return Chain(
        conv1=Conv(32, 3, 2, padding=0),  # 149 x 149
        conv2=Conv(64, 3, padding=0),  # 147
        entry1=block(128, 128, act_first=False),  # 74
        entry2=block(256, 256),  # 37
        entry3=block(728, 728),  # 19
        middle=Chain(**{f"block{i + 1}": middle() for i in range(8)}),
        exit1=block(728, 1024),  # 10
        exit2=separable(1536, "conv act"),
        exit3=separable(2048, "conv act"),
        head=Head(classes),
    )


DEPARTURES = (
    "Without the dropout of 0.5 before the classifier, as in Keras and timm. Padding is symmetric, as in timm; the "
    "author's Keras code pads more at the end."
)
register(Card("xception", "xception", PAPER, xception, image=299, departures=DEPARTURES, pixels=TENSORFLOW))
