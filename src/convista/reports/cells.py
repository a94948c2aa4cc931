"""The wiring diagram of a cell: two earlier maps, sums of two operations each, and what is put side by side."""

from __future__ import annotations

from typing import NamedTuple

from convista.blocks import Cell
from convista.reports.shapes import Picture, box, circle, concat, label, plus, typeset, wire

__all__ = ["cell_diagram"]

INPUTS = {"previous": 18.0, "current": 59.0}  # the two earlier maps: pixels from the top to their wires
LEFT, TOP = 110.0, 92.0  # where the operations begin
BETWEEN, APART = 6.0, 16.0  # pixels between the two operations of a sum, and between sums
OUT = 40.0  # where the wires of the earlier maps begin
Point = tuple[float, float]


class Operation(NamedTuple):
    """One operation of a sum: its box, the map that it works on, and the middle of the place for its box."""

    picture: Picture
    source: str
    x: float
    y: float


class Sum(NamedTuple):
    """A row of the cell: two operations, and where they are added."""

    name: str
    operations: tuple[Operation, Operation]
    plus: Point


def cell_diagram(cell: Cell) -> Picture:
    """The cell with one column for each of its sums; a sum of sums stands lower than those."""
    sums, high = _sums(cell)
    total = sums[-1].operations[1].x + (sums[-1].operations[1].x - sums[-1].operations[0].x - BETWEEN) / 2
    foot = max(sum_.plus[1] for sum_ in sums) + 50
    marks = _wires(cell, sums, high, foot)
    for sum_ in sums:
        marks += _sum(sum_, high)
    squeeze = f"1×1, {cell.width}"
    marks += [box("previous", "fitted").at(0, 0), box("current", squeeze).at(24, 41), *concat(0, foot, total)]
    words = ("cell", *(word for row in cell.rows for word in row), *cell.concat)
    return Picture(total, foot + 20, total / 2, tuple(marks), words)


def _sums(cell: Cell) -> tuple[list[Sum], float]:
    """The rows in their places, and the height of the place for a box."""
    boxes = {kind: box(typeset(kind), "", _kind(kind), 10) for row in cell.rows for kind in row[::2]}
    wide, high = (max(getattr(picture, side) for picture in boxes.values()) for side in ("width", "height"))
    tiers = dict.fromkeys(INPUTS, -1)  # how many sums lie above a map
    sums = []
    for i, (left, left_on, right, right_on) in enumerate(cell.rows):
        tier = tiers[f"row{i + 1}"] = 1 + max(tiers[left_on], tiers[right_on])
        x, y = LEFT + i * (2 * wide + BETWEEN + APART) + wide / 2, TOP + tier * (high + 82) + high / 2
        pair = Operation(boxes[left], left_on, x, y), Operation(boxes[right], right_on, x + wide + BETWEEN, y)
        sums.append(Sum(f"row{i + 1}", pair, (x + (wide + BETWEEN) / 2, y + high / 2 + 22)))
    return sums, high


def _kind(operation: str) -> str:
    known = {"separable": "learns", "identity": "plain"}
    return known.get(operation.partition(" ")[0], "fixed")


def _sum(sum_: Sum, high: float) -> list[str]:
    """Two boxes and the sign that adds them."""
    marks = []
    for op in sum_.operations:
        marks += [wire((op.x, op.y - high / 2), (op.x, sum_.plus[1]), sum_.plus)]
        marks.append(op.picture.at(op.x - op.picture.axis, op.y - op.picture.height / 2))
    x, y = sum_.plus
    return [*marks, *plus(x, y), label(sum_.name, x + 12, y + 14, "small")]


def _wires(cell: Cell, sums: list[Sum], high: float, foot: float) -> list[str]:
    """From each map to the operations on it, and to the concatenation."""
    marks: list[str] = []
    for source, start in [(name, (OUT, y)) for name, y in INPUTS.items()] + [(s.name, s.plus) for s in sums]:
        ends = [(op.x, op.y - high / 2) for s in sums for op in s.operations if op.source == source]
        kind = f"wire {source}" if source in INPUTS else "wire inner"
        lane = start[1] if source in INPUTS else start[1] + 20 + 12 * (len(marks) % 2)
        if ends:
            marks += _lane(start, lane, ends, kind)
        if source in cell.concat:
            below = (10.0, start[1]) if source in INPUTS else start
            marks.append(wire(below, (below[0], foot), kind=kind))
            marks += [circle(start[0], lane, 2.4, "dot")] if ends and source not in INPUTS else []
    return marks


def _lane(start: Point, lane: float, ends: list[Point], kind: str) -> list[str]:
    """A horizontal wire, and from it one down to each end."""
    x, y = max(ends)
    corner = [] if start[1] == lane else [(start[0], lane)]
    marks = [wire(start, *corner, (x, lane), (x, y), kind=kind)]
    for x, y in sorted(ends)[:-1]:
        marks += [wire((x, lane), (x, y), kind=kind), circle(x, lane, 2.4, "dot")]
    return marks
