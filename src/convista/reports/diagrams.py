"""Blocks as wiring diagrams: boxes in sequence, side by side, and around a shortcut."""

from __future__ import annotations

from functools import lru_cache, singledispatch

import torch
from torch import nn

from convista.blocks import Act, Auxiliary, Block, Branches, Cell, Chain, Dense, Residual
from convista.reports.cells import cell_diagram
from convista.reports.shapes import (
    GAP,
    Picture,
    box,
    breadth,
    circle,
    concat,
    label,
    named,
    plus,
    rectangle,
    runs,
    span,
    stack,
    typeset,
    wire,
)

__all__ = ["diagram", "in_sequence", "is_join", "learns"]

LEAD = 12  # pixels of wire in front of a fork
ROOM = 16  # pixels between branches


@singledispatch
def diagram(block: Block, width: int) -> Picture:
    """The block behind `width` input channels; what is no join is one box, with its layers in small letters."""
    stride = f", stride {block.reduction()}" if block.reduction() > 1 else ""
    kind = "learns" if learns(block, width) else "fixed"
    return box(typeset(block.text()) + stride, " ".join(_leaves(block, width)), kind)


def is_join(block: Block) -> bool:
    """Whether a block is drawn as more than one box."""
    return diagram.dispatch(type(block)) is not diagram.dispatch(object)


def in_sequence(block: Block) -> bool:
    """Whether a block is named blocks one behind the other."""
    return diagram.dispatch(type(block)) is diagram.dispatch(Chain)


@lru_cache(maxsize=1024)
def _built(block: Block, width: int) -> nn.Module:
    with torch.device("meta"):
        return block(width)


def learns(block: Block, width: int) -> bool:
    """Whether the block has weights."""
    return any(True for _ in _built(block, width).parameters())


def _leaves(block: Block, width: int) -> list[str]:
    """The names of a box's layers where there are several, the activation by its kind."""
    names = [name for name, _ in _built(block, width).named_children()]
    act = str(getattr(block, "act", "act")).replace("_", " ")
    return [act if name == "act" else name for name in names] if len(names) > 1 else []


@diagram.register
def _chain(block: Chain, width: int) -> Picture:
    pieces = []
    for names, row in runs(block.rows):
        assert isinstance(row, Block)
        if is_join(row):
            pieces.append(named(span(names), _framed(diagram(row, width), len(names))))
            width = _behind(row, width, len(names))
            continue
        for name in names:
            pieces.append(named(name, diagram(row, width)))
            width = row.out(width)
    return stack(pieces)


def _behind(block: Block, width: int, times: int) -> int:
    for _ in range(times):
        width = block.out(width)
    return width


def _framed(picture: Picture, times: int) -> Picture:
    """In a frame that says how often it is repeated; as it is where it is not."""
    if times == 1:
        return picture
    text, edge = f"× {times}", 8.0
    width, height = picture.width + 2 * edge + breadth(text) + 4, picture.height + edge
    marks = (
        rectangle(0, 0, picture.width + 2 * edge, height, "frame", 6),
        picture.at(edge, 0),
        wire((edge + picture.axis, picture.height), (edge + picture.axis, height)),
        label(text, picture.width + 2 * edge + 5, height / 2 + 4, "strong"),
    )
    return Picture(width, height, edge + picture.axis, marks, (*picture.words, text))


@diagram.register
def _branches(block: Branches, width: int) -> Picture:
    columns = [named(name, diagram(row, width)) for name, row in block.rows]
    total = sum(c.width for c in columns) + ROOM * (len(columns) - 1)
    deep, axis = max(c.height for c in columns) + LEAD, total / 2
    marks, x = [wire((axis, 0), (axis, LEAD / 2))], 0.0
    for column in columns:
        here = x + column.axis
        marks += [wire((axis, LEAD / 2), (here, LEAD / 2), (here, LEAD)), column.at(x, LEAD)]
        marks.append(wire((here, LEAD + column.height), (here, deep + LEAD)))
        x += column.width + ROOM
    marks += concat(0, deep + LEAD, total)
    words = ("(", *(word for c in columns for word in (*c.words, "|")), ")")
    return Picture(total, deep + LEAD + 20, axis, tuple(marks), words)


def _bypass(core: Picture, shortcut: Picture | None, joins: str) -> Picture:
    """The core beside a shortcut, which is a bare wire where None, and the join of both."""
    left = (shortcut.width if shortcut else 10.0) + ROOM
    axis, way = left + core.axis, shortcut.axis if shortcut else 10.0
    fork, foot = LEAD / 2, LEAD / 2 + core.height + 16
    half = 9.0 if joins == "+" else 32.0
    marks = [
        wire((axis, 0), (axis, fork), radius=0),
        core.at(left, fork),
        wire((axis, fork + core.height), (axis, foot)),
        wire((axis, fork), (way, fork), (way, foot + 10), (axis - half, foot + 10), kind="shortcut"),
    ]
    marks.append(circle(axis, fork, 2.4, "dot"))
    if shortcut:
        marks.append(shortcut.at(0, fork + (core.height - shortcut.height) / 2 + 8))
    marks += plus(axis, foot + 10) if joins == "+" else concat(axis - half, foot, 2 * half)
    width = max(left + core.width, axis + half)
    height = foot + (19 if joins == "+" else 20)
    return Picture(width, height, axis, tuple(marks), (*core.words, *(shortcut.words if shortcut else ()), joins))


@diagram.register
def _residual(block: Residual, width: int) -> Picture:
    scale = [named("", box(f"× {block.scale:g}", "", "fixed"))] if block.scale != 1 else []
    pre = [diagram(block.pre, width)] if block.pre else []
    body, after = (
        [diagram(block.body, width), *scale],
        [named("act", diagram(Act(block.act), width))] if block.act else [],
    )
    if not block.sums(width):
        return stack([*pre, *body, *after])
    if block.shortcut != "always project" and block.out(width) == width and block.reduction() == 1:
        return stack([_bypass(stack([*pre, *body]), None, "+"), *after])
    return stack([*pre, _bypass(stack(body), _shortcut(block, width), "+"), *after])


def _shortcut(block: Residual, width: int) -> Picture:
    stride = f", stride {block.reduction()}" if block.reduction() > 1 else ""
    if block.shortcut == "pad":
        return box("subsample, pad with zeros", "", "fixed", columns=14)
    return box(f"1×1, {block.out(width)}{stride}", "conv norm" if block.norm else "conv", columns=14)


@diagram.register
def _dense(block: Dense, width: int) -> Picture:
    return _bypass(diagram(block.body, width), None, "concat")


@diagram.register
def _auxiliary(block: Auxiliary, width: int) -> Picture:
    head, axis = diagram(block.head, width), 12.0
    left, turn = axis + ROOM, LEAD / 2
    x = left + head.axis
    marks = (
        wire((axis, 0), (axis, head.height + LEAD + GAP)),
        wire((axis, turn), (x, turn), (x, LEAD), kind="shortcut"),
        circle(axis, turn, 2.4, "dot"),
        head.at(left, LEAD),
        label(f"loss × {block.weight:g}", x, head.height + LEAD + 14, "small", "middle"),
    )
    return Picture(left + head.width, head.height + LEAD + GAP, axis, marks, ("aside", *head.words))


@diagram.register
def _cell(block: Cell, _: int) -> Picture:
    return cell_diagram(block)
