"""NASNet's cell (Zoph, Vasudevan, Shlens, Le 2017, figure 4): a five-row table of operations on two earlier maps."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import IN, Block, Reach, Size
from convista.blocks.joins import Chain, Concat
from convista.blocks.pools import Pool
from convista.blocks.residual import Add, DropPath
from convista.blocks.running import recompute
from convista.blocks.words import Conv, Norm
from convista.errors import InputError

__all__ = ["Cell", "Cells"]

Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Place:
    """Where an operation of a cell works: its stride, its dilation, the dilation behind it, and the cell's padding.

    `halves` says that the stride is 2 or was, before dilation took its place.
    """

    stride: int
    dilation: int
    behind: int
    padding: str | None
    halves: bool


def operation(kind: str, width: int, place: Place, norm: Norm) -> Block | None:
    """The operation called `"separable 5x5"`, `"average 3x3"`, `"max 3x3"`; None for `"identity"`."""
    if kind == "identity":
        return None
    word, _, side = kind.partition(" ")
    kernel = int(side.partition("x")[0])
    if word in ("average", "max"):
        plain = place.padding is None or not place.halves
        counts = not plain and (word == "average" or place.padding == "zeros")
        pad = kernel // 2 if plain or place.stride == 1 else "same"
        return Pool(kernel, place.stride, word, pad, count_padding=counts, dilation=place.dilation)
    conv = partial(Conv, IN, kernel, groups=IN, norm=None, bias=False, order="act conv norm")
    same = None if place.padding is None else "same"
    return Chain(
        depthwise1=conv(stride=place.stride, padding=same, dilation=place.dilation),
        pointwise1=Conv(width, 1, norm=norm, act=None),
        depthwise2=conv(dilation=place.behind),
        pointwise2=Conv(width, 1, norm=norm, act=None),
    )


@dataclass(frozen=True)
class Cell(Block):
    """Five sums of two operations each on the map before (`"current"`), the one before that (`"previous"`) and rows.

    A row is (operation, on, operation, on), as figure 4 has it; `concat` names the rows whose maps are put side by
    side. A `reduction` cell strides by 2 where it works on the two earlier maps. `hands_on` is what the next cell gets
    as its previous map: this cell's `"current"` or its `"previous"`. `padding` is None for symmetric padding, `"same"`
    for TensorFlow's, `"zeros"` where padding also counts as zero in a maximum. (N, C, H, W) twice -> (N, C', H', W').
    """

    width: int
    rows: tuple[Row, ...]
    concat: tuple[str, ...]
    reduction_cell: bool = False
    hands_on: str = "current"
    stride: int | None = None
    dilation: int = 1
    padding: str | None = None
    norm: Norm = Norm(eps=1e-3)  # noqa: RUF009  # frozen
    drop_path: float = 0.0

    def __call__(self, width: int) -> nn.Module:
        return self.between(width, width, False, False)

    def between(self, width: int, previous: int, halved: bool, adjust: bool = True) -> nn.Module:
        """The module behind a current map of `width` and a previous one, twice as large where it is `halved`."""
        cell = CellModule(self)
        cell.current = squeeze(self.width, self.norm)(width)
        if halved:
            steps = (1, self.dilation // 2) if self.dilation > 1 else (2, 1)
            cell.previous = HalvedTwice(previous, self.width, steps, self.norm)
        elif adjust:
            cell.previous = squeeze(self.width, self.norm)(previous)
        inside = {"current": self.width, "previous": self.width if adjust or halved else previous}
        for i, (left, left_on, right, right_on) in enumerate(self.rows):
            row = cell.get_submodule(f"row{i + 1}")
            row.add_module("left", self._operation(left, left_on, inside))
            row.add_module("right", self._operation(right, right_on, inside))
            row.add_module("add", Add())
        return cell

    def _operation(self, kind: str, on: str, inside: dict[str, int]) -> nn.Module:
        earlier = on in ("current", "previous")
        behind = self.dilation * (2 if self.reduction_cell and self.reduction() == 1 else 1)
        before, stride = (self.dilation, self.reduction()) if earlier else (behind, 1)
        place = Place(stride, before, behind, self.padding, earlier and self.reduction_cell)
        made = operation(kind, self.width, place, self.norm)
        if made is None:
            return nn.Identity()
        module = made(inside.get(on, self.width))
        if self.drop_path:
            module.add_module("drop", DropPath(self.drop_path))
        return module

    def out(self, width: int) -> int:
        return self.width * len(self.concat)

    def reduction(self) -> int:
        return (2 if self.reduction_cell else 1) if self.stride is None else self.stride

    def size(self, size: Size) -> Size:
        stride = self.reduction()
        return -(-size[0] // stride), -(-size[1] // stride)

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        stride, behind = reach.step(self.reduction())
        return replace(self, stride=stride, dilation=reach.dilation), behind

    def text(self) -> str:
        return f"{'reduction' if self.reduction_cell else 'normal'} cell, {self.width}"


def squeeze(width: int, norm: Norm) -> Conv:
    """Activation, 1x1 to the cell's width, normalisation: what both earlier maps pass first."""
    return Conv(width, 1, norm=norm, order="act conv norm")


class HalvedTwice(nn.Module):
    """Every second position, and every second position one further on, each projected to half of the width.

    (N, C, H, W) -> (N, width, ceil(H / 2), ceil(W / 2)): brings a map from before a reduction to its size behind it.
    """

    def __init__(self, into: int, width: int, steps: tuple[int, int], norm: Norm):
        super().__init__()
        self.stride, self.shift = steps
        self.act = nn.ReLU()
        self.even = nn.Conv2d(into, width // 2, 1, bias=False)
        self.odd = nn.Conv2d(into, width // 2, 1, bias=False)
        self.concat = Concat()
        self.norm = norm(width // 2 * 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, ceil(H / stride), ceil(W / stride))."""
        x = self.act(x)
        ahead = F.pad(x, (0, self.shift, 0, self.shift))[:, :, self.shift :, self.shift :]
        even, odd = (y[:, :, :: self.stride, :: self.stride] for y in (x, ahead))
        return self.norm(self.concat(self.even(even), self.odd(odd)))  # type: ignore[no-any-return]


class CellModule(nn.Module):
    """What `Cell` builds: `previous` and `current`, then `row1` … `row5` with `left`, `right`, `add`, and `concat`."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.plan = tuple((left_on, right_on) for _, left_on, _, right_on in cell.rows)
        self.joined, self.hands_on = cell.concat, cell.hands_on
        self.previous: nn.Module = nn.Identity()
        self.current: nn.Module = nn.Identity()
        for i in range(len(cell.rows)):
            self.add_module(f"row{i + 1}", nn.Module())
        self.concat = Concat()

    def forward(self, current: Tensor, previous: Tensor | None = None) -> Tensor:
        """(N, C, H, W) twice -> (N, C', H', W')."""
        maps = {"previous": self.previous(current if previous is None else previous), "current": self.current(current)}
        for i, (left, right) in enumerate(self.plan):
            row = self._modules[f"row{i + 1}"]
            maps[f"row{i + 1}"] = row.add(row.left(maps[left]), row.right(maps[right]))  # type: ignore[union-attr,operator]
        return self.concat(*(maps[name] for name in self.joined))  # type: ignore[no-any-return]


class CellSequence(nn.Module):
    """What `Cells` builds: the cells in sequence, each fed with the two maps before it."""

    checkpointing = False

    def __init__(self, cells: OrderedDict[str, nn.Module]):
        super().__init__()
        for name, cell in cells.items():
            self.add_module(name, cell)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        previous = x
        for cell in self.children():
            kept = previous if cell.hands_on == "previous" else x
            x = recompute(cell, x, previous) if self.checkpointing and self.training else cell(x, previous)
            previous = kept
        return x


@dataclass(frozen=True, init=False, repr=False)
class Cells(Chain):
    """Cells in sequence, each of which sees the two maps before it. (N, C, H, W) -> (N, C', H', W')."""

    def __call__(self, width: int) -> nn.Module:
        made: OrderedDict[str, nn.Module] = OrderedDict()
        previous, behind, scale = width, 1, 1  # of the previous map: width, and how much it has been reduced
        for i, (name, cell) in enumerate(self.rows):
            if not isinstance(cell, Cell):
                raise InputError(f"Cells take cells only; '{name}' is a {type(cell).__name__}.")
            made[name] = cell.between(width, previous, scale != behind, adjust=i > 0)
            kept = (previous, behind) if cell.hands_on == "previous" else (width, scale)
            width, scale = cell.out(width), scale * (2 if cell.reduction_cell else 1)
            previous, behind = kept
        return CellSequence(made)
