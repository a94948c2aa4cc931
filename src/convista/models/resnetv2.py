"""ResNet v2 (He, Zhang, Ren, Sun 2016): identity mappings and full pre-activation, figure 4e."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from convista.blocks import Act, Chain, Conv, Head, Norm, Pool, Residual, stage
from convista.models.cards import TENSORFLOW, Card, Paper, register

__all__ = ["preactivation", "resnet_v2"]

PAPER = Paper("Identity Mappings in Deep Residual Networks", "He, Zhang, Ren, Sun", 2016, "arXiv:1603.05027")
bare = partial(Conv, norm=None, act=None, bias=False)


def preactivation(width: int, stride: int = 1) -> Residual:
    """Norm and activation come first; a projection sees them too, the identity does not (figure 4e)."""
    body = Chain(reduce=Conv(width, 1), conv=Conv(width, 3, stride), expand=bare(4 * width, 1))
    return Residual(body, act=None, pre=Chain(norm=Norm(), act=Act()), norm=None)


def resnet_v2(depths: tuple[int, int, int, int], classes: int = 1000) -> Chain:
    """Table 1 of the first paper, of pre-activated blocks. (N, 3, 224, 224) -> (N, classes)."""
    n2, n3, n4, n5 = depths
    return Chain(
        conv1=bare(64, 7, 2),  # 112 x 112
        pool1=Pool(3, 2),  # 56
        conv2_x=stage(n2, preactivation, 64),  # 56
        conv3_x=stage(n3, preactivation, 128, 2),  # 28
        conv4_x=stage(n4, preactivation, 256, 2),  # 14
        conv5_x=stage(n5, preactivation, 512, 2),  # 7
        norm=Norm(),
        act=Act(),
        head=Head(classes),
    )


DEPARTURES = "The stride of a block sits on its 3x3, as in timm; Keras puts it at the end of a stage."
PIXELS = replace(TENSORFLOW, interpolation="bicubic")  # as timm trained them
DEPTHS = {"resnet50_v2": (3, 4, 6, 3), "resnet101_v2": (3, 4, 23, 3), "resnet152_v2": (3, 8, 36, 3)}
for name, depths in DEPTHS.items():
    register(Card(name, "resnet_v2", PAPER, partial(resnet_v2, depths), departures=DEPARTURES, pixels=PIXELS))
