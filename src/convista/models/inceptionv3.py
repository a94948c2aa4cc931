"""Inception v3 (Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015), table 1 and figures 5 to 7."""

from __future__ import annotations

from functools import partial

from convista.blocks import Auxiliary, Branches, Chain, Conv, Flatten, Head, Linear, Norm, Pool
from convista.models.cards import TENSORFLOW, Card, Paper, register

__all__ = ["factorised", "figure_5", "figure_6", "figure_7", "inception_v3"]

PAPER = Paper(
    "Rethinking the Inception Architecture for Computer Vision",
    "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
    2015,
    "arXiv:1512.00567",
)
conv = partial(Conv, norm=Norm(eps=1e-3))
valid = partial(conv, padding=0)
pool = partial(Pool, 3, 2, padding=0)


def pooled(width: int) -> Chain:
    """Pooling, then a 1x1 projection."""
    return Chain(pool=Pool(3, 1, "average"), project=conv(width, 1))


def figure_5(project: int) -> Branches:
    """Two 3x3 in place of a 5x5 in one branch, on 35 x 35; the other keeps its 5x5, as in the authors' code."""
    return Branches(
        conv1x1=conv(64, 1),
        conv5x5=Chain(reduce=conv(48, 1), conv=conv(64, 5)),
        double3x3=Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=conv(96, 3)),
        pool=pooled(project),
    )


def reduction_35() -> Branches:
    """From 35 x 35 to 17 x 17 (figure 10)."""
    double = Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=valid(96, 3, 2))
    return Branches(conv3x3=valid(384, 3, 2), double3x3=double, pool=pool())


def factorised(width: int, n: int, inner: int | None = None) -> Chain:
    """1xn, then nx1, in place of nxn (section 3.2)."""
    return Chain(conv1=conv(inner or width, (1, n)), conv2=conv(width, (n, 1)))


def figure_6(inner: int) -> Branches:
    """1x7 and 7x1 in place of a 7x7, on 17 x 17."""
    tall, wide = (7, 1), (1, 7)
    return Branches(
        conv1x1=conv(192, 1),
        conv7x7=Chain(reduce=conv(inner, 1), **dict(factorised(192, 7, inner).rows)),
        double7x7=Chain(
            reduce=conv(inner, 1),
            conv1=conv(inner, tall),
            conv2=conv(inner, wide),
            conv3=conv(inner, tall),
            conv4=conv(192, wide),
        ),
        pool=pooled(192),
    )


def reduction_17() -> Branches:
    """From 17 x 17 to 8 x 8."""
    seven = Chain(reduce=conv(192, 1), conv1=conv(192, (1, 7)), conv2=conv(192, (7, 1)), conv3=valid(192, 3, 2))
    return Branches(conv3x3=Chain(reduce=conv(192, 1), conv=valid(320, 3, 2)), conv7x7=seven, pool=pool())


def figure_7() -> Branches:
    """1x3 and 3x1 side by side, on 8 x 8."""
    split = Branches(wide=conv(384, (1, 3)), tall=conv(384, (3, 1)))
    return Branches(
        conv1x1=conv(320, 1),
        conv3x3=Chain(reduce=conv(384, 1), split=split),
        double3x3=Chain(reduce=conv(448, 1), conv=conv(384, 3), split=split),
        pool=pooled(192),
    )


def inception_v3(classes: int = 1000) -> Chain:
    """Table 1. (N, 3, 299, 299) -> (N, classes)."""
    early = Chain(
        pool=Pool(5, 3, "average", padding=0),
        reduce=conv(128, 1),
        conv=valid(768, 5),
        flatten=Flatten(),
        out=Linear(classes, act=None),
    )
    return Chain(
        conv1=valid(32, 3, 2),  # 149 x 149
        conv2=valid(32, 3),  # 147
        conv3=conv(64, 3),
        pool1=pool(),  # 73
        conv4=valid(80, 1),
        conv5=valid(192, 3),  # 71
        pool2=pool(),  # 35
        mixed5b=figure_5(32),
        mixed5c=figure_5(64),
        mixed5d=figure_5(64),
        mixed6a=reduction_35(),  # 17
        mixed6b=figure_6(128),
        mixed6c=figure_6(160),
        mixed6d=figure_6(160),
        mixed6e=figure_6(192),
        aux=Auxiliary(early),
        mixed7a=reduction_17(),  # 8
        mixed7b=figure_7(),
        mixed7c=figure_7(),
        head=Head(classes, dropout=0.5),
    )


DEPARTURES = "The stem and the widths are those of the authors' code, as everywhere; table 1 of the paper differs."
register(Card("inception_v3", "inception_v3", PAPER, inception_v3, image=299, departures=DEPARTURES, pixels=TENSORFLOW))
