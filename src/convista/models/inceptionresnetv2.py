"""Inception-ResNet v2 (Szegedy, Ioffe, Vanhoucke, Alemi 2016), figures 15 to 19."""

from __future__ import annotations

from functools import partial

from convista.blocks import Branches, Chain, Conv, Head, Norm, Pool, Residual
from convista.models.cards import TENSORFLOW, Card, Paper, register

__all__ = ["inception_resnet_v2"]

PAPER = Paper(
    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    "Szegedy, Ioffe, Vanhoucke, Alemi",
    2016,
    "arXiv:1602.07261",
)
conv = partial(Conv, norm=Norm(eps=1e-3))
valid = partial(conv, padding=0)
pool = partial(Pool, 3, 2, padding=0)
mean = Pool(3, 1, "average", count_padding=False)


def residual(width: int, scale: float, act: str | None = "relu", **branches: Conv | Chain) -> Residual:
    """Branches, a linear 1x1 back to `width`, and the scaled sum (section 3.3)."""
    up = Conv(width, 1, norm=None, act=None)
    return Residual(Chain(branches=Branches(**branches), up=up), act=act, scale=scale)


def block35() -> Residual:
    """Figure 16."""
    double = Chain(reduce=conv(32, 1), conv1=conv(48, 3), conv2=conv(64, 3))
    return residual(320, 0.17, a=conv(32, 1), b=Chain(reduce=conv(32, 1), conv=conv(32, 3)), c=double)


def block17() -> Residual:
    """Figure 17."""
    seven = Chain(reduce=conv(128, 1), conv1=conv(160, (1, 7)), conv2=conv(192, (7, 1)))
    return residual(1088, 0.10, a=conv(192, 1), b=seven)


def block8(scale: float = 0.20, act: str | None = "relu") -> Residual:
    """Figure 19."""
    three = Chain(reduce=conv(192, 1), conv1=conv(224, (1, 3)), conv2=conv(256, (3, 1)))
    return residual(2080, scale, act, a=conv(192, 1), b=three)


def inception_resnet_v2(classes: int = 1000) -> Chain:
    """Figure 15. (N, 3, 299, 299) -> (N, classes)."""
    mixed5b = Branches(
        a=conv(96, 1),
        b=Chain(reduce=conv(48, 1), conv=conv(64, 5)),
        c=Chain(reduce=conv(64, 1), conv1=conv(96, 3), conv2=conv(96, 3)),
        pool=Chain(pool=mean, project=conv(64, 1)),
    )
    reduction_a = Branches(
        a=valid(384, 3, 2), b=Chain(reduce=conv(256, 1), conv1=conv(256, 3), conv2=valid(384, 3, 2)), pool=pool()
    )
    reduction_b = Branches(
        a=Chain(reduce=conv(256, 1), conv=valid(384, 3, 2)),
        b=Chain(reduce=conv(256, 1), conv=valid(288, 3, 2)),
        c=Chain(reduce=conv(256, 1), conv1=conv(288, 3), conv2=valid(320, 3, 2)),
        pool=pool(),
    )
    return Chain(
        conv1=valid(32, 3, 2),  # 149 x 149
        conv2=valid(32, 3),  # 147
        conv3=conv(64, 3),
        pool1=pool(),  # 73
        conv4=valid(80, 1),
        conv5=valid(192, 3),  # 71
        pool2=pool(),  # 35
        mixed5b=mixed5b,
        inception_a=Chain(**{f"block{i + 1}": block35() for i in range(10)}),
        reduction_a=reduction_a,  # 17
        inception_b=Chain(**{f"block{i + 1}": block17() for i in range(20)}),
        reduction_b=reduction_b,  # 8
        inception_c=Chain(**{f"block{i + 1}": block8() for i in range(9)}, block10=block8(1.0, None)),
        conv7b=conv(1536, 1),
        head=Head(classes, dropout=0.2),
    )


DEPARTURES = "Widths and stem are those of the authors' code, as in timm and Keras; the figures of the paper differ."
register(
    Card(
        "inception_resnet_v2",
        "inception_resnet_v2",
        PAPER,
        inception_resnet_v2,
        image=299,
        departures=DEPARTURES,
        pixels=TENSORFLOW,
    )
)
