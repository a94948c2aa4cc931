"""ResNet for CIFAR-10 (He, Zhang, Ren, Sun 2015, section 4.2), and the plain networks beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from convista.blocks import Block, Chain, Conv, Head, Residual, stage
from convista.models.cards import Card, register
from convista.models.resnet import PAPER, basic

__all__ = ["option_a", "plain", "resnet_cifar"]


def plain(width: int, stride: int = 1) -> Chain:
    """3x3, 3x3: two layers of the plain network, without a shortcut (figure 3, middle)."""
    return Chain(conv1=Conv(width, 3, stride), conv2=Conv(width, 3))


def option_a(width: int, stride: int = 1) -> Residual:
    """`basic` with a shortcut that has no parameters: section 4.2 uses option A throughout."""
    return basic(width, stride, "pad")


def resnet_cifar(block: Callable[[int, int], Block], depth: int, classes: int = 10) -> Chain:
    """Section 4.2: 6n + 2 layers on 32 x 32 pictures. (N, 3, 32, 32) -> (N, classes)."""
    n = (depth - 2) // 6
    return Chain(
        conv1=Conv(16, 3),  # 32 x 32
        conv2_x=stage(n, block, 16),  # 32
        conv3_x=stage(n, block, 32, 2),  # 16
        conv4_x=stage(n, block, 64, 2),  # 8
        head=Head(classes),
    )


for depth in (20, 32, 44, 56, 110, 1202):
    maker = partial(resnet_cifar, option_a, depth)
    register(Card(f"resnet{depth}", "resnet_cifar", PAPER, maker, image=32, classes=10))
for depth in (20, 56, 110):
    maker = partial(resnet_cifar, plain, depth)
    register(Card(f"resnet{depth}_plain", "resnet_cifar", PAPER, maker, image=32, classes=10))
