"""Small networks for 32 x 32 pictures, for what their recipes compare; `--model recipes.networks:seven`."""

from __future__ import annotations

from functools import partial

from convista.blocks import Act, Chain, Conv, Head, Norm, Pool, Spec

__all__ = ["four", "seven", "swift", "swift_half"]

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


def swift(classes: int = 10, width: int = 64) -> Spec:
    """A network that learns CIFAR-10 in seconds on a GPU (after Jordan 2024): no shortcuts, whitened patches first."""

    def stage(channels: int) -> Chain:
        half = partial(Conv, channels, norm=None, act=None)
        return Chain(
            conv1=half(), pool=Pool(2), norm1=Norm(momentum=0.4), act1=Act("gelu"),
            conv2=half(), norm2=Norm(momentum=0.4), act2=Act("gelu"),
        )  # fmt: skip

    table = Chain(
        conv1=Conv(24, 2, padding=0, norm=None, act="gelu"),  # 31 x 31
        stage2=stage(width),  # 15
        stage3=stage(4 * width),  # 7
        stage4=stage(4 * width),  # 3
        head=Head(classes, pool="max"),
    )
    return Spec("swift", table, image=32)


def swift_half(classes: int = 10) -> Spec:
    """`swift` at half the width: a quarter of the work."""
    return swift(classes, 32)
