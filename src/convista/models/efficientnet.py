"""EfficientNet (Tan, Le 2019): table 1, and compound scaling (equation 3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from convista.blocks import IN, Chain, Conv, Head, Norm, Residual, SqueezeExcite
from convista.models.cards import Card, Paper, register
from convista.models.scaling import deeper, wider
from convista.records import Preprocessing

__all__ = ["efficientnet", "mbconv"]

PAPER = Paper(
    "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", "Tan, Le", 2019, "arXiv:1905.11946"
)
# Table 1, stages 2 to 8 of B0: expansion, kernel, width, repeats, stride.
TABLE_1 = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
# What compound scaling came to: width, depth, image, dropout; and, as torchvision has them, the short side before the
# crop and the epsilon of the norms.
SCALES = {
    "b0": (1.0, 1.0, 224, 0.2, 256, 1e-5),
    "b1": (1.0, 1.1, 240, 0.2, 256, 1e-5),
    "b2": (1.1, 1.2, 260, 0.3, 288, 1e-5),
    "b3": (1.2, 1.4, 300, 0.3, 320, 1e-5),
    "b4": (1.4, 1.8, 380, 0.4, 384, 1e-5),
    "b5": (1.6, 2.2, 456, 0.4, 456, 1e-3),
    "b6": (1.8, 2.6, 528, 0.5, 528, 1e-3),
    "b7": (2.0, 3.1, 600, 0.5, 600, 1e-3),
}
PIXELS = Preprocessing(interpolation="bicubic")


def mbconv(conv: partial[Conv], width: int, kernel: int, stride: int, expand: int) -> Residual:
    """The inverted residual of MobileNetV2 with squeeze-excite, to a quarter of the block's input."""
    body = Chain(
        expand=conv(expand * IN, 1) if expand > 1 else None,
        depthwise=conv(IN, kernel, stride, groups=IN),
        squeeze_excite=SqueezeExcite(IN / (4 * expand), "silu"),
        project=conv(width, 1, act=None),
    )
    return Residual(body, shortcut="none", act=None)


def efficientnet(width: float, depth: float, dropout: float, norm: Norm, classes: int = 1000) -> Chain:
    """Table 1, `width` times as wide and `depth` times as deep. (N, 3, H, W) -> (N, classes)."""
    conv = partial(Conv, act="silu", norm=norm)
    stages = {
        f"stage{i + 2}": Chain(
            **{
                f"block{j + 1}": mbconv(conv, wider(c, width), k, s if j == 0 else 1, t)
                for j in range(deeper(n, depth))
            }
        )
        for i, (t, k, c, n, s) in enumerate(TABLE_1)
    }
    last = conv(wider(1280, width), 1)
    return Chain(stage1=conv(wider(32, width), 3, 2), **stages, stage9=last, head=Head(classes, dropout))


DEPARTURES = "Padding is symmetric, as in torchvision; the authors' TensorFlow code pads more at the end."
for name, (width, depth, image, dropout, resize, eps) in SCALES.items():
    maker = partial(efficientnet, width, depth, dropout, Norm(eps))
    card = Card(f"efficientnet_{name}", "efficientnet", PAPER, maker, image, pixels=PIXELS, resize=resize)
    register(replace(card, departures=DEPARTURES))
