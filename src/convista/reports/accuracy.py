"""Published accuracy against multiply-accumulates, as a drawing that stands alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

from convista.catalogue import Published, catalogue
from convista.reports.figures import ticks
from convista.reports.labels import Disc, Label, place

__all__ = ["accuracy_plot"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1160, 820, 62, 190, 74, 92  # pixels of the drawing
LARGEST = 27.0  # radius in pixels of the largest disc
COLOURS = (
    "#1f77b4", "#d1711c", "#8a6150", "#17924b", "#c93a3a", "#b0458f", "#74797f", "#c2850c", "#6a4fc4",
    "#9a9400", "#3f62d8", "#0c8ea0", "#00836c", "#e0569a", "#7f8c00", "#a4442a", "#3d9bd0", "#9a4fd0",
)  # fmt: skip
STYLE = """
svg { --ink: #1b1f24; --soft: #5c6672; --paper: #fbfaf7; --rule: #e2dfd6; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e8e6e1; --soft: #a3a9b1; --paper: #14171a; --rule: #33383e; } }
text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px; fill: var(--soft); }
.paper { fill: var(--paper); } .title { font-size: 19px; fill: var(--ink); } .grid { stroke: var(--rule); }
.name { font-size: 10.5px; fill: var(--ink); stroke: var(--paper); stroke-width: 3px; paint-order: stroke; }
.disc { fill-opacity: .22; stroke-width: 1.2; } .lead { stroke: var(--soft); stroke-width: .7; }
.dearer { stroke-dasharray: 3 2; } .pale { fill-opacity: .05; stroke-opacity: .35; }
.mark { stroke: var(--ink); stroke-dasharray: 6 4; } .marked { fill: var(--ink); font-weight: 600; }
.size { fill: none; stroke: var(--soft); }
"""


@dataclass(frozen=True)
class Axes:
    """From MACs and per cent to pixels; `decades` and `shares` are the ends of the axes."""

    decades: tuple[float, float]
    shares: tuple[float, float]

    def x(self, macs: float) -> float:
        """The logarithmic axis."""
        low, high = self.decades
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(macs) - low) / (high - low)

    def y(self, share: float) -> float:
        """The axis of per cent."""
        low, high = self.shares
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - low) / (high - low))


def accuracy_plot(
    rows: Iterable[Published],
    dataset: str,
    marks: Mapping[str, float] = MappingProxyType({}),
    marked: str = "",
    bright: Collection[str] | None = None,
) -> str:
    """A disc for each network that was judged on `dataset`, its area the parameters, as SVG text.

    `marks` draws lines at so many `macs` and at so much `top1`, which `marked` names; networks that are not among
    `bright` are drawn pale. The caption counts those that were left out: without a published figure, or judged on
    other pictures.
    """
    rows = list(rows)
    judged = [row for row in rows if row.dataset == dataset and row.top1 is not None]
    axes, scale = _axes(judged), LARGEST / math.sqrt(max((row.params for row in judged), default=1))
    discs = [Disc(row.name, axes.x(row.macs), axes.y(row.top1 or 0), scale * math.sqrt(row.params)) for row in judged]
    colours = _colours()
    body = [
        *_grid(axes, dataset),
        *(
            _disc(disc, row, colours[row.family], pale=bright is not None and row.name not in bright)
            for disc, row in _largest_first(discs, judged)
        ),
        *_marks(axes, marks, marked),
        *(_label(label) for label in place(discs, (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM))),
        *_legend({row.family: colours[row.family] for row in judged}, scale),
        *(_text(16, HEIGHT - 32 + 18 * i, line) for i, line in enumerate(_caption(rows, judged))),
    ]
    title = f"Published accuracy on {dataset} against cost"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>\n'
        + "\n".join([_text(16, 34, title, "title"), *body])
        + "\n</svg>\n"
    )


def _axes(rows: Sequence[Published]) -> Axes:
    macs = [math.log10(row.macs) for row in rows] or [6.0, 9.0]
    shares = [row.top1 or 0 for row in rows] or [0.0, 100.0]
    return Axes((min(macs) - 0.15, max(macs) + 0.15), (min(shares) - 2, max(shares) + 3))


def _grid(axes: Axes, dataset: str) -> Iterable[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for share in (t for t in ticks(*axes.shares, 8) if axes.shares[0] <= t <= axes.shares[1]):
        y = axes.y(share)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 8, y + 4, f"{share:g}", anchor="end")
    low, high = axes.decades
    for power in range(math.floor(low), math.ceil(high)):
        for step in (1, 2, 5):
            if low <= math.log10(step) + power <= high:
                x = axes.x(step * 10.0**power)
                yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
                yield _text(x, bottom + 18, _round(step * 10**power), anchor="middle")
    yield _text(LEFT, TOP - 12, f"top-1 in per cent, {dataset}")
    yield _text(right, bottom + 38, "multiply-accumulates for one picture (log)", anchor="end")


def _round(number: float) -> str:
    size, unit = next(((s, u) for s, u in ((10**9, " G"), (10**6, " M"), (10**3, " K")) if number >= s), (1, ""))
    return f"{number / size:.3g}{unit}"


def _largest_first(discs: Sequence[Disc], rows: Sequence[Published]) -> list[tuple[Disc, Published]]:
    return sorted(zip(discs, rows, strict=True), key=lambda pair: -pair[0].radius)


def _marks(axes: Axes, marks: Mapping[str, float], name: str) -> Iterable[str]:
    """Lines through the drawing, where they lie in it."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    macs, top1 = marks.get("macs"), marks.get("top1")
    if macs and axes.decades[0] <= math.log10(macs) <= axes.decades[1]:
        x = axes.x(macs)
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        yield _text(x + 5, bottom - 8, f"{name}: {_round(macs)} MACs", "marked")
    if top1 and axes.shares[0] <= top1 <= axes.shares[1]:
        y = axes.y(top1)
        yield f'<line class="mark" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT + 6, y - 6, f"{name}: {top1:g} %", "marked")


def _disc(disc: Disc, row: Published, colour: str, pale: bool = False) -> str:
    said = f"{row.name}: {row.top1:g} % ({row.protocol}), {row.macs:,} MACs, {row.params:,} parameters. {row.source}"
    dearer = " dearer" * (row.judged_at > row.image) + " pale" * pale
    at = f'cx="{disc.x:.1f}" cy="{disc.y:.1f}"'
    return (
        f"<g><title>{escape(said)}</title>"
        f'<circle class="disc{dearer}" {at} r="{disc.radius:.1f}" fill="{colour}" stroke="{colour}"/>'
        f'<circle {at} r="1.8" fill="{colour}"/></g>'
    )


def _label(label: Label) -> str:
    line = ""
    if label.lead is not None:
        (x1, y1), (x2, y2) = label.lead
        line = f'<line class="lead" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    return line + _text(label.x, label.y, label.text, "name", label.anchor)


def _legend(families: dict[str, str], scale: float) -> Iterable[str]:
    x, y = WIDTH - RIGHT + 26, TOP + 10.0
    for family, colour in sorted(families.items()):
        yield f'<circle class="disc" cx="{x}" cy="{y - 4}" r="6" fill="{colour}" stroke="{colour}"/>'
        yield _text(x + 14, y, family)
        y += 21
    y += 26
    yield _text(x - 6, y, "parameters")
    for millions in (1, 10, 100):
        radius = scale * math.sqrt(millions * 1e6)
        if radius <= LARGEST:
            y += max(21.0, 2 * radius + 8)
            yield f'<circle class="size" cx="{x + 28}" cy="{y - radius:.1f}" r="{radius:.1f}"/>'
            yield _text(x + 70, y - radius + 4, f"{millions} M")


def _caption(rows: Sequence[Published], judged: Sequence[Published]) -> list[str]:
    """What the drawing shows, and what it leaves out: a line each."""
    silent = sum(row.top1 is None for row in rows)
    others = len(rows) - len(judged) - silent
    dearer = sum(row.judged_at > row.image for row in judged)
    said = f"{len(judged)} networks; area: parameters. Figures as published: hover for crops and source."
    dashed = f"Dashed: {dearer} judged on larger pictures than the MACs are for. " if dearer else ""
    left_out = [f"{silent} without a published figure"] * bool(silent) + [f"{others} judged on other data"] * bool(
        others
    )
    return [said, dashed + (f"Left out: {', '.join(left_out)}." if left_out else "")]


def _colours() -> dict[str, str]:
    """Each family's own, whichever networks are drawn."""
    families = sorted({row.family for row in catalogue().values()})
    return {family: COLOURS[i % len(COLOURS)] for i, family in enumerate(families)}


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
