"""A whole network as one SVG: its table beside the shape of its maps, and each kind of block once as a diagram."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import log2

from convista.blocks import Block, Spec
from convista.reports.diagrams import in_sequence, is_join, learns
from convista.reports.panels import Panel, badge, panels_of, shelves, size, units
from convista.reports.paper import EDGE, WIDTH, document
from convista.reports.shapes import SMALL, Picture, breadth, label, lines_of, rectangle, span, typeset, wire

__all__ = ["draw"]

NAMES, CENTRE, OUTPUT, TEXT = 134.0, 220.0, 310.0, 424.0  # where names end, the funnel stands, shapes and texts begin
COLUMNS = 80  # letters in a line of a row's text


@dataclass
class Row:
    """A line of the drawn table; `letters` are those of the diagrams that show its blocks."""

    name: str
    shape: tuple[int, ...]
    text: str
    kind: str = "learns"
    aside: bool = False
    inner: bool = False
    letters: list[str] = field(default_factory=list)


def draw(spec: Spec) -> str:
    """The network as SVG, in light or dark as the reader has it, with no font or file of its own.

    Each row is a box whose breadth grows with the side of its map and whose height grows with its channels, both
    on a logarithmic scale.

    >>> from convista.models import spec
    >>> draw(spec("resnet18")).startswith("<svg")
    True
    """
    shapes = {layer.name: layer.shape_out for layer in spec.layers}
    panels = panels_of(spec, shapes)
    rows = list(_rows(spec, shapes, panels))
    table, below = _table(rows, spec.image), shelves(list(panels.values()))
    head, foot = 74.0, 34.0
    height = head + table.height + below.height + foot
    parameters = sum(p.numel() for p in spec.layers[-1].module.parameters())
    title = f"{size((spec.channels, spec.image, spec.image))} → {spec.classes:,} classes · {parameters:,} parameters"
    marks = [
        label(spec.name, EDGE, 40, "title"),
        label(title, EDGE, 60, "faint"),
        table.at(0, head),
        below.at(0, head + table.height),
        *_legend(height - 18, bool(panels)),
    ]
    said = f"{spec.name}: {title}. " + " ".join(f"{row.name}: {row.text}, {size(row.shape)}." for row in rows)
    return document(spec.name, said, height, marks)


def _rows(spec: Spec, shapes: dict[str, tuple[int, ...]], panels: dict[tuple[str, ...], Panel]) -> Iterator[Row]:
    shown = {name: panel.letter for panel in panels.values() for name in panel.names}
    width = spec.channels
    yield Row("input", (spec.channels, spec.image, spec.image), "", "plain")
    for name, block in spec.table.rows:
        inside = block.rows if in_sequence(block) else ()  # type: ignore[attr-defined]
        if inside and all(is_join(row) for _, row in inside) and len({row.text() for _, row in inside}) > 1:
            yield from _spelled_out(name, inside, shapes, shown)
        else:
            kind = "learns" if learns(block, width) else "fixed"
            row = Row(name, shapes[name], _said(block), kind, not block.a_map and len(shapes[name]) == 3)
            row.letters = sorted({shown[unit] for unit, _, _ in units(name, block, width)})
            yield row
        width = block.out(width)


def _spelled_out(
    name: str, inside: tuple[tuple[str, Block], ...], shapes: dict[str, tuple[int, ...]], shown: dict[str, str]
) -> Iterator[Row]:
    """A row of unlike blocks, as rows of its own."""
    yield Row(name, (), "")
    for _, group in groupby(inside, key=lambda row: _said(row[1])):
        run = list(group)
        names = [inner for inner, _ in run]
        times = f" × {len(run)}" if len(run) > 1 else ""
        row = Row(span(names), shapes[f"{name}.{names[-1]}"], _said(run[0][1]) + times, inner=True)
        row.letters = sorted({shown[f"{name}.{inner}"] for inner in names})
        yield row


def _said(block: Block) -> str:
    return typeset(block.text()) + (f", stride {block.reduction()}" if block.reduction() > 1 else "")


def _table(rows: list[Row], image: int) -> Picture:
    """The rows below each other, and the funnel of their maps."""
    marks: list[str] = []
    funnel: list[str] = []
    y, before = 0.0, (0.0, 0.0)  # of the box above: its breadth and its lower edge
    for row in rows:
        lines = lines_of(row.text, COLUMNS - 3 * len(row.letters))
        pitch = max(32.0, 14.0 * len(lines) + 12)
        if not row.shape:
            marks.append(label(row.name, NAMES, y + 20, "name", "end"))
            y += 26
            continue
        middle = y + pitch / 2
        wide, high = _breadth(row.shape, image), _height(row.shape)
        if row.aside:
            wide = before[0]
            funnel += _funnel(before, (wide, y + pitch))
            marks += [wire((CENTRE, middle), (CENTRE + wide / 2 + 12, middle), kind="shortcut")]
            marks += [rectangle(CENTRE + wide / 2 + 12, middle - 6, 12, 12, row.kind, 3)]
        else:
            funnel += _funnel(before, (wide, middle - high / 2)) if before[0] else []
            marks.append(rectangle(CENTRE - wide / 2, middle - high / 2, wide, high, row.kind, 3))
        before = (wide, y + pitch if row.aside else middle + high / 2)
        marks += _line(row, lines, middle)
        y += pitch
    return Picture(WIDTH, y + 8, CENTRE, (*funnel, *marks))


def _line(row: Row, lines: list[str], middle: float) -> list[str]:
    """Name, shape, letters and text of a row."""
    marks = [
        label(row.name, NAMES, middle + 4, "name inner" if row.inner else "name", "end"),
        label(size(row.shape), OUTPUT, middle + 4, "text"),
    ]
    x = TEXT
    for letter in row.letters:
        marks += badge(letter, x, middle)
        x += 20
    top = middle + 4 - 7 * (len(lines) - 1)
    return marks + [label(line, x + (4 if row.letters else 0), top + 14 * i, "text") for i, line in enumerate(lines)]


def _funnel(above: tuple[float, float], below: tuple[float, float]) -> list[str]:
    (w0, y0), (w1, y1) = above, below
    corners = ((-w0 / 2, y0), (w0 / 2, y0), (w1 / 2, y1), (-w1 / 2, y1))
    points = " ".join(f"{CENTRE + x:.1f},{y:.1f}" for x, y in corners)
    return [f'<polygon class="funnel" points="{points}"/>']


def _breadth(shape: tuple[int, ...], image: int) -> float:
    side = max(shape[1:], default=1)
    return 14 + 136 * log2(side) / max(1.0, log2(image))


def _height(shape: tuple[int, ...]) -> float:
    return 4 + 1.5 * log2(max(2, shape[0]))


def _legend(y: float, joins: bool) -> list[str]:
    words = "Breadth: side of the map; height: channels; both logarithmic."
    marks, x = [label(words, WIDTH - EDGE, y, "small", "end")], EDGE
    kinds = (("learns", "with weights"), ("fixed", "without weights"), ("join", "join"))
    for kind, text in kinds if joins else kinds[:2]:
        marks += [rectangle(x, y - 9, 16, 11, kind, 3), label(text, x + 22, y, "small")]
        x += 22 + breadth(text, SMALL) + 22
    return marks
