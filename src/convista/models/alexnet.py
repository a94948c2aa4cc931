"""AlexNet (Krizhevsky, Sutskever, Hinton 2012, figure 2), and the one-tower form of Krizhevsky 2014."""

from __future__ import annotations

from functools import partial

from convista.blocks import Chain, Conv, Dropout, Flatten, Linear, LocalResponseNorm, Pool
from convista.models.cards import CAFFE, Card, Paper, register

__all__ = ["alexnet", "alexnet_owt"]

PAPER = Paper(
    "ImageNet Classification with Deep Convolutional Neural Networks",
    "Krizhevsky, Sutskever, Hinton",
    2012,
    "NIPS",
)
ONE_WEIRD_TRICK = Paper(
    "One weird trick for parallelizing convolutional neural networks", "Krizhevsky", 2014, "arXiv:1404.5997"
)
conv = partial(Conv, norm=None)
pool = partial(Pool, 3, 2, padding=0)


def alexnet(classes: int = 1000) -> Chain:
    """Figure 2: two towers are two groups. (N, 3, 227, 227) -> (N, classes)."""
    return Chain(
        conv1=conv(96, 11, 4, padding=0),  # 55 x 55
        norm1=LocalResponseNorm(),
        pool1=pool(),  # 27
        conv2=conv(256, 5, groups=2),
        norm2=LocalResponseNorm(),
        pool2=pool(),  # 13
        conv3=conv(384, 3),
        conv4=conv(384, 3, groups=2),
        conv5=conv(256, 3, groups=2),
        pool5=pool(),  # 6
        flatten=Flatten(6),
        fc6=Linear(4096),
        drop6=Dropout(0.5),
        fc7=Linear(4096),
        drop7=Dropout(0.5),
        fc8=Linear(classes, act=None),
    )


def alexnet_owt(classes: int = 1000) -> Chain:
    """One tower, without response normalisation. (N, 3, 224, 224) -> (N, classes)."""
    return Chain(
        conv1=conv(64, 11, 4, padding=2),  # 55 x 55
        pool1=pool(),  # 27
        conv2=conv(192, 5),
        pool2=pool(),  # 13
        conv3=conv(384, 3),
        conv4=conv(256, 3),
        conv5=conv(256, 3),
        pool5=pool(),  # 6
        flatten=Flatten(6),
        drop6=Dropout(0.5),
        fc6=Linear(4096),
        drop7=Dropout(0.5),
        fc7=Linear(4096),
        fc8=Linear(classes, act=None),
    )


SIDE = "The paper says 224 pixels; its 55 x 55 maps need 227."
OWT = "Widths as in torchvision: 256, not 384, maps in the fourth layer."
register(Card("alexnet", "alexnet", PAPER, alexnet, image=227, departures=SIDE, pixels=CAFFE))
register(Card("alexnet_owt", "alexnet", ONE_WEIRD_TRICK, alexnet_owt, departures=OWT))
