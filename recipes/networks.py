"""Two small networks for 32 x 32 pictures, for what their recipes compare; `--model recipes.networks:seven`."""

from __future__ import annotations

from functools import partial

from convista.blocks import Chain, Conv, Head, Spec

__all__ = ["four", "seven"]

bare = partial(Conv, norm=None)


def four(classes: int = 10) -> Spec:
    """Four convolutions without normalisation, where initial weights and activations matter most."""
    table = Chain(
        conv1=bare(32, 3, 2),  # 16 x 16
        conv2=bare(64, 3, 2),  # 8
        conv3=bare(64, 3),  # 8
        conv4=bare(128, 3, 2),  # 4
        head=Head(classes),
    )
    return Spec("four", table, image=32)


def seven(classes: int = 10) -> Spec:
    """Three convolutions of 7x7, which `--what-if kernel7=3x3x3` turns into nine of 3x3."""
    table = Chain(
        conv1=Conv(16, 7),  # 32 x 32
        conv2=Conv(32, 7, 2),  # 16
        conv3=Conv(64, 7, 2),  # 8
        head=Head(classes),
    )
    return Spec("seven", table, image=32)
