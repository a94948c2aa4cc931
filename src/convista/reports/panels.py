"""Each kind of block of a network once, as a diagram with a letter and the names of all blocks of that kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convista.blocks import Block, Spec
from convista.reports.diagrams import diagram, in_sequence, is_join
from convista.reports.paper import EDGE, WIDTH
from convista.reports.shapes import SMALL, Picture, breadth, label, lines_of, rectangle, span, wire

__all__ = ["Panel", "badge", "panels_of", "shelves", "size", "units"]

LEAST, APART = 196.0, 28.0  # pixels of the narrowest panel, and between panels


@dataclass
class Panel:
    """A diagram, and the names of all blocks that look like it."""

    letter: str
    picture: Picture
    shapes: str
    names: list[str]


def size(shape: tuple[int, ...]) -> str:
    """A shape as one writes it."""
    return " × ".join(map(str, shape))


def units(name: str, block: Block, width: int) -> Iterator[tuple[str, Block, int]]:
    """The joins of a row with their names and input widths; those in a sequence of joins one by one."""
    rows = block.rows if in_sequence(block) else ()  # type: ignore[attr-defined]
    if rows and all(is_join(row) for _, row in rows):
        for inside, row in rows:
            yield from units(f"{name}.{inside}", row, width)
            width = row.out(width)
    elif is_join(block):
        yield name, block, width


def panels_of(spec: Spec, shapes: dict[str, tuple[int, ...]]) -> dict[tuple[str, ...], Panel]:
    """One diagram for all blocks that differ in their widths only."""
    panels: dict[tuple[str, ...], Panel] = {}
    before, width = (spec.channels, spec.image, spec.image), spec.channels
    came = {layer.name: layer.shape_in for layer in spec.layers}
    for row, block in spec.table.rows:
        for name, unit, into in units(row, block, width):
            picture = diagram(unit, into)
            key = tuple(re.sub(r", \d+|\d+-way", ", n", word) for word in picture.words)
            arrow = f"{size(came.get(name, before))} → {size(shapes[name])}"
            panels.setdefault(key, Panel(_letter(len(panels)), picture, arrow, [])).names.append(name)
        width, before = block.out(width), shapes[row]  # type: ignore[assignment]
    return panels


def _letter(i: int) -> str:
    return chr(ord("A") + i % 26) + (str(i // 26) if i >= 26 else "")


def shelves(panels: list[Panel]) -> Picture:
    """The panels side by side, as many on a shelf as there is room for."""
    groups: list[list[Panel]] = []
    room = 0.0
    for panel in panels:
        room -= _wide(panel) + APART
        if room < 0:
            groups.append([])
            room = WIDTH - 2 * EDGE - _wide(panel)
        groups[-1].append(panel)
    marks, y = [], 34.0
    for shelf in groups:
        picture = _shelf(shelf)
        marks.append(picture.at(EDGE, y))
        y += picture.height + 30
    if marks:
        marks.append(wire((EDGE, 8), (WIDTH - EDGE, 8), kind="rule"))
    return Picture(WIDTH, y if marks else 0, WIDTH / 2, tuple(marks))


def _shelf(panels: list[Panel]) -> Picture:
    """Panels side by side: letter, names, the shapes of the first block, and the diagram."""
    captions = [lines_of(", ".join(_places(p.names)), int((_wide(p) - 24) / breadth("x"))) for p in panels]
    top = 24 + 14 * max(map(len, captions))
    marks: list[str] = []
    x = 0.0
    for panel, lines in zip(panels, captions, strict=True):
        marks += badge(panel.letter, x, 10)
        marks += [label(line, x + 24, 14 + 14 * i, "strong") for i, line in enumerate(lines)]
        marks.append(label(panel.shapes, x + 24, 14 + 14 * len(lines), "small"))
        left = x + (_wide(panel) - panel.picture.width) / 2
        axis, foot = left + panel.picture.axis, top + panel.picture.height
        marks += [panel.picture.at(left, top), wire((axis, foot), (axis, foot + 14)), _arrow(axis, foot + 18)]
        x += _wide(panel) + APART
    return Picture(WIDTH, top + 18 + max(p.picture.height for p in panels), WIDTH / 2, tuple(marks))


def _wide(panel: Panel) -> float:
    return max(LEAST, panel.picture.width, breadth(panel.shapes, SMALL) + 26)


def _arrow(x: float, y: float) -> str:
    return f'<polygon class="dot" points="{x - 3.5:.1f},{y - 6:.1f} {x + 3.5:.1f},{y - 6:.1f} {x:.1f},{y:.1f}"/>'


def _places(names: list[str]) -> list[str]:
    """Names whose last numbers or letters follow each other become one.

    >>> _places(["conv2_x.block2", "conv2_x.block3", "conv3_x.block2", "mixed5b", "mixed5c"])
    ['conv2_x.block2…3', 'conv3_x.block2', 'mixed5b…c']
    """
    found: list[list[str]] = []
    for name in names:
        if found and _next(found[-1][-1]) == name:
            found[-1].append(name)
        else:
            found.append([name])
    return [span(run) for run in found]


def _next(name: str) -> str:
    """The name that follows: `block3` behind `block2`, `mixed5c` behind `mixed5b`."""
    stem = name.rstrip("0123456789")
    if stem != name:
        return f"{stem}{int(name[len(stem) :]) + 1}"
    return name[:-1] + chr(ord(name[-1]) + 1)


def badge(letter: str, x: float, middle: float) -> list[str]:
    """A letter in a disc whose left edge is at x."""
    return [rectangle(x, middle - 8, 16, 16, "badge", 8), label(letter, x + 8, middle + 3.8, "letter", "middle")]
