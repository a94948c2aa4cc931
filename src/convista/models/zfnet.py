"""ZFNet (Zeiler, Fergus 2013, figure 3)."""

from __future__ import annotations

from functools import partial

from convista.blocks import Chain, Conv, Dropout, Flatten, Linear, LocalResponseNorm, Pool
from convista.models.cards import CAFFE, Card, Paper, register

__all__ = ["zfnet"]

PAPER = Paper("Visualizing and Understanding Convolutional Networks", "Zeiler, Fergus", 2013, "arXiv:1311.2901")
conv = partial(Conv, norm=None)


def zfnet(classes: int = 1000) -> Chain:
    """Figure 3. (N, 3, 224, 224) -> (N, classes)."""
    return Chain(
        conv1=conv(96, 7, 2, padding=1),  # 110 x 110
        pool1=Pool(3, 2),  # 55
        norm1=LocalResponseNorm(),
        conv2=conv(256, 5, 2, padding=0),  # 26
        pool2=Pool(3, 2),  # 13
        norm2=LocalResponseNorm(),
        conv3=conv(384, 3),
        conv4=conv(384, 3),
        conv5=conv(256, 3),
        pool5=Pool(3, 2, padding=0),  # 6
        flatten=Flatten(6),
        fc6=Linear(4096),
        drop6=Dropout(0.5),
        fc7=Linear(4096),
        drop7=Dropout(0.5),
        fc8=Linear(classes, act=None),
    )


DEPARTURES = "The paper's contrast normalisation across feature maps is AlexNet's response normalisation here."
register(Card("zfnet", "zfnet", PAPER, zfnet, departures=DEPARTURES, pixels=CAFFE))
