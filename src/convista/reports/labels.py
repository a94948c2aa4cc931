"""Names beside discs, placed one after another where they cover least."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Disc", "Label", "place"]

Box = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]

LETTER, LINE = 6.0, 11.0  # pixels that a letter of 10.5 pixels takes, at most
DOT = 3.0  # the middle of a disc must stay visible
GAPS = (4, 9, 16, 24, 34, 46, 60)  # pixels between a disc and its name
ANGLES = range(0, 360, 30)
AMBIGUOUS = 12  # what it costs to stand nearer to another disc's middle


@dataclass(frozen=True)
class Disc:
    """A named disc: its middle and radius in pixels."""

    name: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Label:
    """Where a name's text begins, ends or has its middle, and the line that leads to it from afar."""

    text: str
    x: float
    y: float
    anchor: str
    lead: tuple[Point, Point] | None


def place(discs: Sequence[Disc], frame: Box) -> list[Label]:
    """A label for each disc inside `frame`, small discs first, each where it covers least of what is there."""
    dots = [(d.x - DOT, d.y - DOT, d.x + DOT, d.y + DOT) for d in discs]
    taken: list[Box] = []
    labels = []
    for disc in sorted(discs, key=lambda d: d.radius):
        options = list(_options(disc, frame))
        others = [d for d in discs if d is not disc]
        cost = [
            distance + 6 * _covered(box, dots) + 4 * _covered(box, taken) + AMBIGUOUS * _nearer(box, disc, others)
            for _, box, distance in options
        ]
        if options:
            label, box, *_ = options[cost.index(min(cost))]
            labels.append(label)
            taken.append(box)
    return labels


def _options(disc: Disc, frame: Box) -> Iterable[tuple[Label, Box, float]]:
    """Labels around a disc with their boxes, and what their distance and direction cost."""
    width = LETTER * len(disc.name)
    for gap in GAPS:
        for angle in ANGLES:
            side, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            reach = min(disc.radius, 12) + gap if disc.radius > 20 else disc.radius + gap
            x, y = disc.x + side * reach, disc.y - up * reach
            anchor = "start" if side > 0.3 else "end" if side < -0.3 else "middle"
            left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
            middle = y - up * LINE / 2
            box = (left, middle - LINE / 2, left + width, middle + LINE / 2)
            if frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]:
                lead = ((disc.x, disc.y), (x, y)) if gap > GAPS[0] else None
                yield Label(disc.name, x, middle + 3.6, anchor, lead), box, gap + 2 * (side < 0) + 3 * abs(up)


def _covered(box: Box, others: Iterable[Box]) -> float:
    """The area of `box` that others take."""
    left, top, right, bottom = box
    return sum(max(0.0, min(right, r) - max(left, a)) * max(0.0, min(bottom, b) - max(top, t)) for a, t, r, b in others)


def _nearer(box: Box, disc: Disc, others: Iterable[Disc]) -> int:
    """How many other discs' middles are nearer to `box` than its own disc's."""
    own = _distance(box, disc)
    return sum(_distance(box, other) < own for other in others)


def _distance(box: Box, disc: Disc) -> float:
    return math.hypot(max(box[0] - disc.x, disc.x - box[2], 0), max(box[1] - disc.y, disc.y - box[3], 0))
