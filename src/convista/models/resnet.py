"""ResNet (He, Zhang, Ren, Sun 2015), table 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from convista.blocks import Block, Chain, Conv, Head, Pool, Residual, stage
from convista.models.cards import CAFFE, IMAGENET, Card, Paper, register

__all__ = ["basic", "bottleneck", "bottleneck_v1", "resnet"]

Maker = Callable[[int, int], Block]
PAPER = Paper("Deep Residual Learning for Image Recognition", "He, Zhang, Ren, Sun", 2015, "arXiv:1512.03385")


def basic(width: int, stride: int = 1, shortcut: str = "project") -> Residual:
    """3x3, 3x3, and the shortcut (figure 5, left)."""
    return Residual(Chain(conv1=Conv(width, 3, stride), conv2=Conv(width, 3, act=None)), shortcut)


def bottleneck(width: int, stride: int = 1, groups: int = 1, inner: int | None = None) -> Residual:
    """1x1 down, 3x3, 1x1 up to 4 * width (figure 5, right). The stride sits on the 3x3: v1.5."""
    conv = Conv(inner or width, 3, stride, groups)
    return Residual(Chain(reduce=Conv(inner or width, 1), conv=conv, expand=Conv(4 * width, 1, act=None)))


def bottleneck_v1(width: int, stride: int = 1) -> Residual:
    """`bottleneck` as printed: the stride sits on the first 1x1."""
    return Residual(Chain(reduce=Conv(width, 1, stride), conv=Conv(width, 3), expand=Conv(4 * width, 1, act=None)))


def resnet(block: Maker, depths: tuple[int, int, int, int], classes: int = 1000) -> Chain:
    """Table 1. (N, 3, 224, 224) -> (N, classes)."""
    n2, n3, n4, n5 = depths
    return Chain(
        conv1=Conv(64, 7, 2),  # 112 x 112
        pool1=Pool(3, 2),  # 56
        conv2_x=stage(n2, block, 64),  # 56
        conv3_x=stage(n3, block, 128, 2),  # 28
        conv4_x=stage(n4, block, 256, 2),  # 14
        conv5_x=stage(n5, block, 512, 2),  # 7
        head=Head(classes),
    )


OPTION_B = "Where the width grows the shortcut is a projection (option B), as in torchvision and timm."
V1_5 = "The stride of a bottleneck sits on its 3x3, not on its first 1x1 (v1.5), as in torchvision and timm."
DEPTHS: dict[str, tuple[Maker, tuple[int, int, int, int], str]] = {
    "resnet18": (basic, (2, 2, 2, 2), OPTION_B),
    "resnet34": (basic, (3, 4, 6, 3), OPTION_B),
    "resnet50": (bottleneck, (3, 4, 6, 3), V1_5),
    "resnet101": (bottleneck, (3, 4, 23, 3), V1_5),
    "resnet152": (bottleneck, (3, 8, 36, 3), V1_5),
    "resnet50_v1": (bottleneck_v1, (3, 4, 6, 3), ""),
    "resnet101_v1": (bottleneck_v1, (3, 4, 23, 3), ""),
    "resnet152_v1": (bottleneck_v1, (3, 8, 36, 3), ""),
}
for name, (block, depths, departures) in DEPTHS.items():
    pixels = CAFFE if name.endswith("_v1") else IMAGENET
    register(Card(name, "resnet", PAPER, partial(resnet, block, depths), departures=departures, pixels=pixels))
