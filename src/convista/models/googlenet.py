"""GoogLeNet (Szegedy et al. 2014), table 1, and the form that torchvision ships."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from convista.blocks import (
    Auxiliary,
    Block,
    Branches,
    Chain,
    Conv,
    Dropout,
    Flatten,
    Head,
    Linear,
    LocalResponseNorm,
    Norm,
    Pool,
    PoolTo,
)
from convista.models.cards import CAFFE, TENSORFLOW, Card, Paper, register

__all__ = ["googlenet", "googlenet_tv", "inception", "naive_inception"]

PAPER = Paper("Going Deeper with Convolutions", "Szegedy and others", 2014, "arXiv:1409.4842")
pool = partial(Pool, 3, 2, padding=0, ceil_mode=True)
# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


def inception(conv: Callable[..., Conv], large: int, widths: tuple[int, ...]) -> Branches:
    """Figure 2b: 1x1, 3x3 and 5x5 behind 1x1 reductions, and pooling, side by side."""
    c1, r3, c3, r5, c5, proj = widths
    return Branches(
        conv1x1=conv(c1, 1),
        conv3x3=Chain(reduce=conv(r3, 1), conv=conv(c3, 3)),
        conv5x5=Chain(reduce=conv(r5, 1), conv=conv(c5, large)),
        pool=Chain(pool=Pool(3, 1, padding=1), project=conv(proj, 1)),
    )


def naive_inception(conv: Callable[..., Conv], c1: int, c3: int, c5: int) -> Branches:
    """Figure 2a: 1x1, 3x3, 5x5 and pooling side by side, all on the full input."""
    return Branches(conv1x1=conv(c1, 1), conv3x3=conv(c3, 3), conv5x5=conv(c5, 5), pool=Pool(3, 1, padding=1))


def auxiliary(conv: Callable[..., Conv], pool: Block, classes: int) -> Auxiliary:
    """Section 5: an early classifier whose loss counts 0.3."""
    fc, drop, out = Linear(1024), Dropout(0.7), Linear(classes, act=None)
    return Auxiliary(Chain(pool=pool, conv=conv(128, 1), flatten=Flatten(4), fc=fc, drop=drop, out=out))


def table(conv: Callable[..., Conv], large: int, norm: Block | None, pool4: Block, aux: Block, head: Head) -> Chain:
    """Table 1: `large` is the side of the large kernel. (N, 3, 224, 224) -> (N, classes)."""
    rows = {name: inception(conv, large, widths) for name, widths in TABLE_1.items()}
    return Chain(
        conv1=conv(64, 7, 2),  # 112 x 112
        pool1=pool(),  # 56
        norm1=norm,
        conv2_reduce=conv(64, 1),
        conv2=conv(192, 3),
        norm2=norm,
        pool2=pool(),  # 28
        inception3a=rows["3a"],
        inception3b=rows["3b"],
        pool3=pool(),  # 14
        inception4a=rows["4a"],
        aux1=aux,
        inception4b=rows["4b"],
        inception4c=rows["4c"],
        inception4d=rows["4d"],
        aux2=aux,
        inception4e=rows["4e"],
        pool4=pool4,  # 7
        inception5a=rows["5a"],
        inception5b=rows["5b"],
        head=head,
    )


def googlenet(classes: int = 1000) -> Chain:
    """Table 1 as printed. (N, 3, 224, 224) -> (N, classes)."""
    conv = partial(Conv, norm=None)
    aux = auxiliary(conv, Pool(5, 3, "average", padding=0), classes)
    return table(conv, 5, LocalResponseNorm(), pool(), aux, Head(classes, dropout=0.4))


def googlenet_tv(classes: int = 1000) -> Chain:
    """Table 1 as torchvision has it. (N, 3, 224, 224) -> (N, classes)."""
    conv = partial(Conv, norm=Norm(eps=1e-3))
    aux = auxiliary(conv, PoolTo(4), classes)
    return table(conv, 3, None, Pool(2, ceil_mode=True), aux, Head(classes, dropout=0.2))


TV = (
    "The 5x5 kernels are 3x3, by a mistake that the published weights carry; batch normalisation in place of local "
    "response normalisation; dropout 0.2; pool4 is 2x2."
)
# The paper names no first weights; drawn by their fan-out as elsewhere, narrow branches without norms make maps grow.
register(Card("googlenet", "googlenet", PAPER, googlenet, pixels=CAFFE, init="xavier"))
register(Card("googlenet_tv", "googlenet", PAPER, googlenet_tv, departures=TV, pixels=TENSORFLOW))
