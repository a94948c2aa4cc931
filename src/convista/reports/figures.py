"""Figures as inline SVG and PNG, drawn with the page's own colours so that they follow light and dark."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["curves", "filter_sheet", "heat_map", "png", "ticks"]

FLAT = 1e-3  # of the highest value: who differs less is shown as level
ASTRAY = 10  # times the highest value of the middle line
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 240, 46, 34, 10, 12  # pixels of the drawing


def curves(
    lines: dict[str, Sequence[float]], unit: str, first: int = 1, kinds: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Named lines over epochs `first`, `first` + 1, …, as SVG. `unit` names the y axis.

    The classes `line-NAME` carry the colours, or `line-KIND` for the names in `kinds`, which may be any text.
    """
    roof = _roof(lines)
    values = [min(v, roof) for line in lines.values() for v in line if math.isfinite(v)] or [0.0, 1.0]
    flat = max(abs(max(values)), 1e-9) / 10 if max(values) - min(values) < FLAT * abs(max(values)) else 0.0
    marks = ticks(min(values) - flat, max(values))
    low, high, count = marks[0], marks[-1], max((len(line) for line in lines.values()), default=1)
    epochs = first + count - 1

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((epoch - first) / (count - 1) if count > 1 else 0.5)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in marks
    ]
    parts += [
        f'<text class="tick" x="{x(e):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{e}</text>'
        for e in sorted({first, *range(max(1, epochs // 5), epochs + 1, max(1, epochs // 5))})
    ]
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">epoch</text>')
    for name, line in lines.items():
        points = [(x(i + first), y(min(v, high))) for i, v in enumerate(line) if math.isfinite(v)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        kind, said = kinds.get(name, name), f"<title>{escape(name)}</title>"
        parts.append(f'<polyline class="line line-{kind}" points="{path}">{said}</polyline>')
        if len(points) == 1:
            at = f'cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}"'
            parts.append(f'<circle class="dot line-{kind}" {at} r="3">{said}</circle>')
    label = escape(f"{unit} over epochs: {', '.join(lines)}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _roof(lines: Mapping[str, Sequence[float]]) -> float:
    """Values beyond it are drawn at the upper edge, so that one run that went astray does not flatten all others."""
    tops = [max(own) for line in lines.values() if (own := [v for v in line if math.isfinite(v)])]
    return ASTRAY * median(tops) if len(tops) > 2 and median(tops) > 0 else math.inf


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose low..high, `about` so many.

    >>> ticks(71.3, 78.2)
    [70, 72, 74, 76, 78, 80]
    """
    span = max(high - low, 1e-9 + 1e-3 * abs(high))
    raw = span / about
    size = 10 ** math.floor(math.log10(raw))
    step = min((m * size for m in (1, 2, 5, 10) if m * size >= raw), default=10 * size)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def png(pixels: NDArray[np.uint8]) -> str:
    """Bytes (H, W) or (H, W, 3) as a `data:` address."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def filter_sheet(filters: NDArray[np.uint8]) -> str:
    """Filters (n, h, w, 1 or 3) side by side in rows, a gap of one pixel between them, as a `data:` address."""
    n, h, w, c = filters.shape
    columns = min(n, 16) if n <= 64 else 24
    rows = -(-n // columns)
    sheet = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, c), 255, np.uint8)
    for i, kernel in enumerate(filters):
        top, left = (i // columns) * (h + 1), (i % columns) * (w + 1)
        sheet[top : top + h, left : left + w] = kernel
    return png(sheet.squeeze(2) if c == 1 else sheet)


def heat_map(confusion: NDArray[np.int64]) -> str:
    """A confusion matrix with many classes: one pixel a cell, dark where a row's pictures go, as a `data:` address."""
    shares = confusion / np.maximum(1, confusion.sum(1, keepdims=True))
    return png((255 - 255 * np.sqrt(shares)).astype(np.uint8))
