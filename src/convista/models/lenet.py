"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, figure 2)."""

from __future__ import annotations

from functools import partial

from convista.blocks import Chain, Conv, Flatten, Linear, Pool, RadialBasis, SparseConv, Subsample
from convista.models.cards import Card, Paper, register
from convista.records import Preprocessing

__all__ = ["lenet5", "lenet5_sparse"]

PAPER = Paper(
    "Gradient-Based Learning Applied to Document Recognition",
    "LeCun, Bottou, Bengio, Haffner",
    1998,
    "Proceedings of the IEEE 86(11)",
)
PIXELS = Preprocessing(
    mean=(0.1 / 1.275,), std=(1 / 1.275,)
)  # paper -0.1, ink 1.175 (section III.A); ink is white here
conv = partial(Conv, kernel=5, padding=0, norm=None, act="scaled_tanh")

# Table I: the maps of S2 (rows) that each map of C3 (columns) looks at.
TABLE_1 = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def lenet5(classes: int = 10) -> Chain:
    """Figure 2 with a dense C3. (N, 1, 32, 32) -> (N, classes)."""
    return Chain(
        c1=conv(6),  # 28 x 28
        s2=Pool(2, kind="average"),  # 14
        c3=conv(16),  # 10
        s4=Pool(2, kind="average"),  # 5
        c5=conv(120),  # 1
        flatten=Flatten(),
        f6=Linear(84, act="scaled_tanh"),
        output=Linear(classes, act=None),
    )


def lenet5_sparse(classes: int = 10) -> Chain:
    """Figure 2 and table I to the letter: 60,000 trainable parameters. (N, 1, 32, 32) -> (N, classes)."""
    return Chain(
        c1=conv(6),
        s2=Subsample(),
        c3=SparseConv(TABLE_1, 5),
        s4=Subsample(),
        c5=conv(120),
        flatten=Flatten(),
        f6=Linear(84, act="scaled_tanh"),
        output=RadialBasis(classes),
    )


SPARSE = "The codes of the output layer are drawn at random instead of by hand (section II.B allows both)."
card = partial(Card, family="lenet", paper=PAPER, image=32, channels=1, classes=10, init="lecun", pixels=PIXELS)
register(card("lenet5", table=lenet5, departures="C3 is dense; S2 and S4 are plain means; the output layer is linear."))
register(card("lenet5_sparse", table=lenet5_sparse, departures=SPARSE))
