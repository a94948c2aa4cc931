"""Courses of the learning rate, as a drawing that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["rate_curves"]

WIDTH, HEIGHT, LEFT, TOP = 900, 96, 130, 56  # pixels: the drawing's width, a curve's height, and margins
STYLE = """
svg { --ink: #1b1f24; --soft: #5c6672; --paper: #fbfaf7; --rule: #e2dfd6; --line: #1760a5; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e8e6e1; --soft: #a3a9b1; --paper: #14171a; --rule: #33383e;
  --line: #6fb1ee; } }
text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px; fill: var(--soft); }
.paper { fill: var(--paper); } .title { font-size: 19px; fill: var(--ink); } .name { fill: var(--ink); }
.grid { stroke: var(--rule); } .line { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; }
"""


def rate_curves(rates: Mapping[str, Sequence[float]], epochs: int) -> str:
    """A curve for each schedule, one under the other, on the same axes, as SVG text."""
    height = TOP + (HEIGHT + 24) * len(rates) + 30
    peak = max(max(curve) for curve in rates.values())
    parts = [_curve(name, curve, peak, TOP + i * (HEIGHT + 24)) for i, (name, curve) in enumerate(rates.items())]
    marks = sorted({round(epochs * i / 5) for i in range(6)})
    places = ((epoch, LEFT + (WIDTH - LEFT - 24) * epoch / epochs) for epoch in marks)
    axis = [f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle">{epoch}</text>' for epoch, x in places]
    title = f"Learning rate over {epochs} epoch{'s' * (epochs != 1)}, peak {peak:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>\n'
        + "\n".join([f'<text class="title" x="16" y="34">{escape(title)}</text>', *parts, *axis])
        + "\n</svg>\n"
    )


def _curve(name: str, rates: Sequence[float], peak: float, top: float) -> str:
    bottom, width = top + HEIGHT, WIDTH - LEFT - 24
    points = " ".join(
        f"{LEFT + width * i / max(1, len(rates) - 1):.1f},{bottom - HEIGHT * rate / peak:.1f}"
        for i, rate in enumerate(rates)
        if i % max(1, len(rates) // 400) == 0 or i == len(rates) - 1
    )
    return (
        f'<line class="grid" x1="{LEFT}" x2="{LEFT + width}" y1="{bottom}" y2="{bottom}"/>'
        f'<line class="grid" x1="{LEFT}" x2="{LEFT + width}" y1="{top}" y2="{top}"/>'
        f'<text class="name" x="{LEFT - 14}" y="{bottom - HEIGHT / 2 + 4:.0f}" text-anchor="end">{escape(name)}</text>'
        f'<polyline class="line" points="{points}"/>'
    )
