"""Pieces of an SVG drawing that know their size, so that larger pieces can be put together from them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from itertools import groupby

__all__ = [
    "FONT",
    "GAP",
    "SMALL",
    "Picture",
    "box",
    "breadth",
    "circle",
    "concat",
    "label",
    "lines_of",
    "named",
    "plus",
    "rectangle",
    "runs",
    "span",
    "stack",
    "typeset",
    "wire",
]

FONT, SMALL = 11.5, 9.5  # pixels; all letters are equally wide, so that a text's breadth is known without the font
GAP = 18  # pixels of wire in front of a piece, beside which its name stands
LINE = 14  # pixels from one line of text to the next


@dataclass(frozen=True)
class Picture:
    """Marks in a frame of `width` x `height` pixels, entered at the top and left at the bottom at x = `axis`.

    `words` are the texts of its pieces: two pictures with the same words show the same thing.
    """

    width: float
    height: float
    axis: float
    marks: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def at(self, x: float, y: float) -> str:
        """The marks, moved to (x, y)."""
        return f'<g transform="translate({_n(x)} {_n(y)})">{"".join(self.marks)}</g>'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def typeset(text: str) -> str:
    """A row's text with multiplication signs, and small fractions for long decimals.

    >>> typeset("3x3, 64 x 2; 0.0416667 x in")
    '3×3, 64 × 2; 1/24 × in'
    """
    text = re.sub(r"0\.\d{3,}", lambda m: str(Fraction(m[0]).limit_denominator(99)), text)
    return re.sub(r"(?<=\d)x(?=\d)|(?<= )x(?= )", "×", text)


def span(names: Sequence[str]) -> str:
    """Names that follow each other, said shortly.

    >>> span(["conv2_x.block1"]), span(["conv2_x.block2", "conv2_x.block3", "conv2_x.block4"])
    ('conv2_x.block1', 'conv2_x.block2…4')
    """
    if len(names) == 1:
        return names[0]
    stem = names[0].rstrip("0123456789") if names[0][-1].isdigit() else names[0][:-1]
    return f"{names[0]}…{names[-1].removeprefix(stem)}"


def breadth(text: str, size: float = FONT) -> float:
    """The breadth of a text in pixels."""
    return 0.605 * size * len(text)


def lines_of(text: str, columns: int) -> list[str]:
    """The text in lines of at most `columns` letters, broken between phrases where it can be.

    >>> lines_of("1x1, 96; 3x3, 128 | 1x1, 16; 5x5, 32", 20)
    ['1x1, 96; 3x3, 128 |', '1x1, 16; 5x5, 32']
    """
    lines = [""]
    for phrase in re.split(r"(?<=[;|]) ", text):
        joined = f"{lines[-1]} {phrase}".strip()
        if len(joined) <= columns:
            lines[-1] = joined
        else:
            lines += textwrap.wrap(phrase, columns, break_long_words=False, break_on_hyphens=False)
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def label(text: str, x: float, y: float, kind: str = "text", anchor: str = "start") -> str:
    """Text whose baseline starts, ends or has its middle at (x, y)."""
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def rectangle(x: float, y: float, width: float, height: float, kind: str, radius: float = 4) -> str:
    """A box with round corners."""
    return f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}"/>'


def circle(x: float, y: float, radius: float, kind: str) -> str:
    """A circle around (x, y)."""
    return f'<circle class="{kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>'


def wire(*points: tuple[float, float], kind: str = "wire", radius: float = 7) -> str:
    """A line through points, horizontal and vertical pieces in turn, with round corners."""
    path = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        (ax, ay), (bx, by) = _towards(here, before, radius), _towards(here, after, radius)
        path.append(f"L{_n(ax)} {_n(ay)}Q{_n(here[0])} {_n(here[1])} {_n(bx)} {_n(by)}")
    return f'<path class="{kind}" d="{"".join(path)}L{_n(points[-1][0])} {_n(points[-1][1])}"/>'


def _towards(here: tuple[float, float], there: tuple[float, float], far: float) -> tuple[float, float]:
    dx, dy = there[0] - here[0], there[1] - here[1]
    share = min(far, max(abs(dx), abs(dy)) / 2) / max(abs(dx), abs(dy), 1e-9)
    return here[0] + share * dx, here[1] + share * dy


def plus(x: float, y: float) -> list[str]:
    """The sign of a sum around (x, y)."""
    cross = [wire((x - 4.5, y), (x + 4.5, y), kind="cross"), wire((x, y - 4.5), (x, y + 4.5), kind="cross")]
    return [circle(x, y, 9, "join"), *cross]


def concat(x: float, y: float, width: float) -> list[str]:
    """The bar of a concatenation, 20 pixels high."""
    return [rectangle(x, y, width, 20, "join", 10), label("concat", x + width / 2, y + 14, "text", "middle")]


def box(text: str, below: str = "", kind: str = "learns", columns: int = 28) -> Picture:
    """A box around a text, and smaller words `below` it."""
    lines, small = lines_of(text, columns), lines_of(below, columns + 4) if below else []
    width = max(60, *(breadth(line) + 13 for line in lines), *(breadth(line, SMALL) + 13 for line in small))
    height = 10 + LINE * len(lines) + 11 * len(small)
    marks = [rectangle(0, 0, width, height, kind)]
    marks += [label(line, width / 2, 16 + LINE * i, "text", "middle") for i, line in enumerate(lines)]
    top = 13 + LINE * len(lines)
    marks += [label(line, width / 2, top + 11 * i, "small", "middle") for i, line in enumerate(small)]
    return Picture(width, height, width / 2, tuple(marks), (text, below))


def named(name: str, picture: Picture) -> Picture:
    """The picture behind a piece of wire, beside which its name stands."""
    mark = wire((picture.axis, 0), (picture.axis, GAP))
    tag = label(name, picture.axis + 5, GAP - 6, "small")
    width = max(picture.width, picture.axis + 5 + breadth(name, SMALL))
    return Picture(width, picture.height + GAP, picture.axis, (mark, tag, picture.at(0, GAP)), picture.words)


def stack(pictures: Sequence[Picture]) -> Picture:
    """Pictures below each other, on one axis."""
    axis = max((p.axis for p in pictures), default=0)
    right = max((p.width - p.axis for p in pictures), default=0)
    marks, y = [], 0.0
    for picture in pictures:
        marks.append(picture.at(axis - picture.axis, y))
        y += picture.height
    return Picture(axis + right, y, axis, tuple(marks), tuple(word for p in pictures for word in p.words))


def runs(items: Sequence[tuple[str, object]]) -> list[tuple[list[str], object]]:
    """Equal things that follow each other, once, with the names of all."""
    grouped = (list(group) for _, group in groupby(items, key=lambda item: item[1]))
    return [([name for name, _ in group], group[0][1]) for group in grouped]
