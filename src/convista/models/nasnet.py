"""NASNet-A (Zoph, Vasudevan, Shlens, Le 2017), figure 4 and appendix A.4."""

from __future__ import annotations

from functools import partial

from convista.blocks import Act, Cell, Cells, Chain, Conv, Head, Norm
from convista.models.cards import TENSORFLOW, Card, Paper, register

__all__ = ["nasnet", "normal", "reduction"]

PAPER = Paper(
    "Learning Transferable Architectures for Scalable Image Recognition",
    "Zoph, Vasudevan, Shlens, Le",
    2017,
    "arXiv:1707.07012",
)
# Figure 4, left: the normal cell. Each row adds two operations.
NORMAL = (
    ("separable 5x5", "current", "separable 3x3", "previous"),
    ("separable 5x5", "previous", "separable 3x3", "previous"),
    ("average 3x3", "current", "identity", "previous"),
    ("average 3x3", "previous", "average 3x3", "previous"),
    ("separable 3x3", "current", "identity", "current"),
)
# Figure 4, right: the reduction cell.
REDUCTION = (
    ("separable 5x5", "current", "separable 7x7", "previous"),
    ("max 3x3", "current", "separable 7x7", "previous"),
    ("average 3x3", "current", "separable 5x5", "previous"),
    ("average 3x3", "row1", "identity", "row2"),
    ("separable 3x3", "row1", "max 3x3", "current"),
)
normal = partial(
    Cell, rows=NORMAL, concat=("previous", "row1", "row2", "row3", "row4", "row5"), hands_on="current", padding="same"
)
reduction = partial(Cell, rows=REDUCTION, concat=("row2", "row3", "row4", "row5"), reduction_cell=True, padding="same")


def nasnet(repeats: int, penultimate: int, stem: int, hands_on: str, classes: int = 1000) -> Chain:
    """NASNet-A (`repeats` @ `penultimate`). (N, 3, 224, 224) -> (N, classes).

    `hands_on` is what the first cell behind a reduction gets as its previous map: the reduction's own previous map in
    the large network, the map before the reduction in the mobile one.
    """
    width = penultimate // 24
    cells = {"stem1": reduction(width // 4), "stem2": reduction(width // 2)}
    for i in range(3):
        if i:
            cells[f"reduction{i}"] = reduction(width * 2**i, hands_on=hands_on)
        cells |= {f"normal{i + 1}_{j + 1}": normal(width * 2**i) for j in range(repeats)}
    conv1 = Conv(stem, 3, 2, padding=0, norm=Norm(eps=1e-3), act=None)
    return Chain(conv1=conv1, cells=Cells(**cells), act=Act(), head=Head(classes, dropout=0.5))


DEPARTURES = (
    "Without the auxiliary classifier that the authors' code trains with; where a reduction cell averages, its padding "
    "counts in the mean, as in timm and Keras."
)
for name, maker, image in (
    ("nasnet_mobile", partial(nasnet, 4, 1056, 32, "current"), 224),
    ("nasnet_large", partial(nasnet, 6, 4032, 96, "previous"), 331),
):
    register(Card(name, "nasnet", PAPER, maker, image=image, departures=DEPARTURES, pixels=TENSORFLOW))
