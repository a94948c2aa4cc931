"""The doctor's page and drawing, and the curve of the learning-rate finder: logarithmic plots that fit a phone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from convista.reports.page import template
from convista.training import Diagnosis, LayerHealth, Sweep
from convista.training.health import decades

__all__ = ["health_drawing", "health_page", "loss_over_rate"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 250, 50, 14, 12, 74  # pixels of a plot and its margins
STYLE = """
svg { --ink: #1b1f24; --soft: #5c6672; --paper: #fbfaf7; --rule: #e2dfd6; --val: #1760a5; --train: #8a6d1b;
  --bad: #b3381f; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e8e6e1; --soft: #a3a9b1; --paper: #14171a; --rule: #33383e;
  --val: #6fb1ee; --train: #e0b64c; --bad: #f0846b; } }
text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px; fill: var(--ink); }
.paper { fill: var(--paper); } .title { font-size: 16px; }
"""
MARKS = """
.grid { stroke: var(--rule); } .tick { fill: var(--soft); font-size: 11px; }
.bound { stroke: var(--bad); stroke-dasharray: 4 4; }
.trace { fill: none; stroke: var(--val); stroke-width: 1.5; stroke-linejoin: round; }
.trace.raw { stroke: var(--train); opacity: .5; } .weights { fill: var(--val); } .norm, .other { fill: var(--soft); }
.activation { fill: var(--train); } .lost { fill: var(--bad); }
"""
LETTERS = 58  # of a line of text in the drawing


def health_page(found: Diagnosis) -> str:
    """The diagnosis as one HTML page: findings in words, two plots, every layer."""
    plots = [(title, _plot(found, value), note) for title, value, note in PLOTS]
    return template("health.html").render(d=found, plots=plots, marks=MARKS)


def health_drawing(found: Diagnosis) -> str:
    """The diagnosis as one SVG: findings in words and the two plots below each other."""
    said = [line for finding in found.findings or ["✓ Nothing is wrong."] for line in _wrapped(str(finding))]
    parts, y = [f'<text class="title" x="16" y="30">{escape(found.model)}, {found.mode}</text>'], 54
    for line in [*_wrapped(found.summary), "", *said]:
        parts.append(f'<text x="16" y="{y}">{escape(line)}</text>')
        y += 16
    for title, value, _ in PLOTS:
        parts.append(f'<text class="title" x="16" y="{y + 18}">{escape(title)}</text>')
        parts.append(f'<svg y="{y + 26}" width="{WIDTH}" height="{HEIGHT}">{_plot(found, value, whole=False)}</svg>')
        y += HEIGHT + 36
    return _document(f"{found.model}: activations and gradients", y + 8, parts)


def loss_over_rate(sweep: Sweep) -> str:
    """The sweep as SVG: the loss at each rate, smoothed, on a logarithmic axis, with the rate that is suggested."""
    low, high = math.floor(math.log10(sweep.rates[0])), math.ceil(math.log10(sweep.rates[-1]))
    top = min(max(sweep.losses), 1.3 * max(sweep.smooth[: max(3, len(sweep.smooth) // 4)]))
    bottom = min(0.98 * min(sweep.losses), top - 1e-6)

    def point(rate: float, loss: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(rate) - low) / (high - low)
        return f"{x:.1f},{TOP + (HEIGHT - TOP - BOTTOM) * (1 - (min(loss, top) - bottom) / (top - bottom)):.1f}"

    lines = [
        f'<polyline class="trace{more}" points="{" ".join(map(point, sweep.rates, values))}"/>'
        for values, more in ((sweep.losses, " raw"), (sweep.smooth, ""))
    ]
    parts = [*_decade_columns(low, high), *_level_rows(bottom, top), *lines]
    if sweep.lr is not None:
        x = point(sweep.lr, bottom).partition(",")[0]
        parts.append(f'<line class="bound" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    heads = ['<text class="title" x="16" y="30">Loss while the learning rate rises</text>']
    words = [line for said in sweep.advice for line in _wrapped(said)]
    heads += [f'<text x="16" y="{54 + 16 * i}">{escape(line)}</text>' for i, line in enumerate(words)]
    y = 54 + 16 * len(words)
    plot = f'<svg y="{y}" width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'
    return _document("Loss while the learning rate rises", y + HEIGHT - 30, [*heads, plot])


def _decade_columns(low: int, high: int) -> list[str]:
    parts = []
    for power in range(low, high + 1):
        x = LEFT + (WIDTH - LEFT - RIGHT) * (power - low) / (high - low)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">1e{power}</text>')
    return parts


def _level_rows(bottom: float, top: float) -> list[str]:
    parts = []
    for i in range(5):
        y, level = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * i / 4, bottom + (top - bottom) * i / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:.3g}</text>')
    return parts


PLOTS: tuple[tuple[str, Callable[[LayerHealth], float], str], ...] = (
    (
        "Size of activations",
        lambda layer: layer.std,
        "Standard deviation of each layer's output on the batch, in the order of execution. About 1 is healthy.",
    ),
    (
        "Size of gradients",
        lambda layer: layer.gradient or 0.0,
        "Norm of the loss's gradient by each layer's output. A level line is healthy.",
    ),
)


def _plot(found: Diagnosis, value: Callable[[LayerHealth], float], whole: bool = True) -> str:
    """A point for each layer, on a logarithmic axis; what is zero or no number lies on the edge, in red."""
    values = [value(layer) for layer in found.layers]
    low, high = decades(values)
    names = [layer.name for layer in found.layers]

    def place(i: int) -> tuple[float, float, bool]:
        good = values[i] > 0 and math.isfinite(values[i])
        share = (math.log10(values[i]) - low) / (high - low) if good else float(values[i] != 0)
        x = LEFT + (WIDTH - LEFT - RIGHT) * (i / (len(values) - 1) if len(values) > 1 else 0.5)
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, share))), good

    places = [place(i) for i in range(len(values))]
    parts = [*_powers(low, high), *_stages(names, [x for x, *_ in places])]
    filters = [
        f"{x:.1f},{y:.1f}" for (x, y, _), layer in zip(places, found.layers, strict=True) if layer.role == "weights"
    ]
    parts.append(f'<polyline class="trace" points="{" ".join(filters)}"/>')
    for (x, y, good), layer, number in zip(places, found.layers, values, strict=True):
        title = f"<title>{escape(layer.name)} ({escape(layer.kind)}): {number:.2g}</title>"
        kind, radius = layer.role if good else "lost", 2.6 if len(values) < 120 else 1.8
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>')
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{inside}</svg>' if whole else inside


def _powers(low: int, high: int) -> list[str]:
    """Lines at powers of ten, at most nine."""
    step = -(-(high - low) // 8)
    parts = []
    for power in range(low, high + 1, step):
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - (power - low) / (high - low))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>')
    return parts


def _stages(names: Sequence[str], xs: Sequence[float]) -> list[str]:
    """Where a new row of the network begins, and its name, as far as there is room."""
    parts, last, before = [], -math.inf, ""
    for name, x in zip(names, xs, strict=True):
        row = name.partition(".")[0].partition(" ")[0]
        if row != before and x - last >= 15:
            y = HEIGHT - BOTTOM
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y + 5}"/>')
            turn = f'transform="rotate(-50 {x:.1f} {y + 14})"'
            parts.append(
                f'<text class="tick" x="{x + 3:.1f}" y="{y + 14}" text-anchor="end" {turn}>{escape(row[:14])}</text>'
            )
            last = x
        before = row
    return parts


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > LETTERS:
            lines.append("  ")
        lines[-1] += word + " "
    return lines


def _document(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{MARKS}</style>\n"
        f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
