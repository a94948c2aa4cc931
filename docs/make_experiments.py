"""Writes `docs/results/experiments.md` and `experiments.svg` from the measured runs and the recipes' own words.

python docs/make_experiments.py
"""

from __future__ import annotations

import json
import statistics
import tomllib
from collections.abc import Iterator, Sequence
from html import escape
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["figure", "page"]

HERE = Path(__file__).parent
RECIPES = HERE.parent / "recipes"
RESULTS = HERE / "results"
ORDER = (
    "degradation", "norm", "init", "activation", "kernels", "separable", "augmentation", "schedule", "optimizer",
    "rates",
)  # fmt: skip
BY_HAND = "<!-- Written by docs/make_experiments.py from experiments.json and the recipes; do not edit by hand. -->\n\n"
WAITING = "not yet"
COLUMN, GAP, LEFT, ROW, HEAD, TOP = 560, 24, 190, 19, 46, 84  # pixels of the figure
STYLE = """
svg { --ink: #1b1f24; --soft: #5c6672; --paper: #fbfaf7; --rule: #e2dfd6; --dot: #1760a5; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e8e6e1; --soft: #a3a9b1; --paper: #14171a; --rule: #33383e;
  --dot: #6fb1ee; } }
text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 12px; fill: var(--soft); }
.paper { fill: var(--paper); } .title { font-size: 19px; fill: var(--ink); } .name { fill: var(--ink); }
.head { font-size: 13px; font-weight: 600; fill: var(--ink); } .grid { stroke: var(--rule); }
.floor { stroke: var(--soft); stroke-dasharray: 3 3; } .mean { stroke: var(--ink); stroke-width: 2; }
.dot { fill: var(--dot); fill-opacity: .55; } .number { fill: var(--soft); font-size: 11px; }
"""


class Setting(NamedTuple):
    """One line of an experiment: its name, and the runs of its seeds."""

    name: str
    runs: list[dict[str, Any]]

    def of(self, word: str) -> list[float]:
        """What was measured under this word, one number a seed, where a run came to its end."""
        return [run[word] for run in self.runs if run[word] is not None]


class Experiment(NamedTuple):
    """A recipe with what has been measured of it."""

    name: str
    title: str
    measured: str
    settings: list[Setting]
    commits: list[str]


def page() -> str:
    """The page's text: a table for each experiment."""
    data = json.loads((RESULTS / "experiments.json").read_text(encoding="utf-8"))
    parts = [BY_HAND + "# The experiments of the course notes\n", *data["about"], "![All of them](experiments.svg)\n"]
    for experiment in _experiments(data):
        parts += [
            f"## {experiment.name}\n",
            experiment.title + "\n",
            _table(experiment),
            f"Measured: {experiment.measured}\n",
        ]
        commits = ", ".join(experiment.commits)
        parts += [f"`convista train cifar10/ --recipe recipes/{experiment.name}.toml`. Commit {commits}.\n"]
    if waiting := [name for name in ORDER if f"Measured: {WAITING}" in (RECIPES / f"{name}.toml").read_text("utf-8")]:
        parts += [f"Written, but not measured yet: {', '.join(waiting)}.\n"]
    return "\n".join(parts)


def figure() -> str:
    """Every run as a dot, every mean as a stroke, as SVG text."""
    data = json.loads((RESULTS / "experiments.json").read_text(encoding="utf-8"))
    panels = list(_experiments(data))
    heights = [HEAD + ROW * len(panel.settings) for panel in panels]
    cut = min(range(len(panels) + 1), key=lambda i: max(sum(heights[:i]), sum(heights[i:])))
    most = max(run["test"] or 0 for panel in panels for setting in panel.settings for run in setting.runs)
    scale = (COLUMN - LEFT - 60) / (0.05 + most)
    marks = []
    for column in (range(cut), range(cut, len(panels))):
        y = float(TOP)
        for i in column:
            marks += _panel(panels[i], 16 + (COLUMN + GAP) * (column.start > 0), y, scale)
            y += heights[i]
    height = TOP + max(sum(heights[:cut]), sum(heights[cut:])) + 16
    width = 2 * COLUMN + GAP + 32
    title = "The experiments of the course notes at small size"
    under = "Top-1 on test pictures of CIFAR-10. Dots: seeds; strokes: means; dashed: the floor, a guess."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{width}" height="{height}"/>\n'
        + "\n".join([_text(16, 34, title, "title"), _text(16, 56, under), *marks])
        + "\n</svg>\n"
    )


def _experiments(data: dict[str, Any]) -> Iterator[Experiment]:
    for name in ORDER:
        text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
        comment = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
        title, _, rest = comment.partition(" Measured: ")
        measured = rest.partition(" convista train ")[0]
        sweep = tomllib.loads(text)["sweep"]
        runs = [run for run in data["runs"] if run["recipe"] == name]
        words = [word for word in sweep if word != "seed"]
        settings = []
        for values in product(*(sweep[word] for word in words)):
            these = [run for run in runs if all(run["words"][w] == v for w, v in zip(words, values, strict=True))]
            if these:
                settings.append(Setting(_name(words, values), these))
        if settings and not measured.startswith(WAITING):
            yield Experiment(name, title, measured, settings, sorted({run["commit"] for run in runs}))


def _name(words: Sequence[str], values: Sequence[Any]) -> str:
    """A setting in words: values that speak for themselves alone, the others behind their word."""
    known = [(True, "on"), (False, "off"), ("", "as it is")]
    parts = []
    for word, value in zip(words, values, strict=True):
        text = next((said for other, said in known if value is other or value == other == ""), str(value))
        parts.append(text if isinstance(value, str) else f"{word} {text}")
    return ", ".join(parts)


def _table(experiment: Experiment) -> str:
    priced = len({run["macs"] for setting in experiment.settings for run in setting.runs}) > 1
    head = ["setting", "n", "test top-1", "train top-1, last epoch", *(["parameters", "MACs"] if priced else [])]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for setting in experiment.settings:
        first = setting.runs[0]
        price = [f"{first['params']:,}", f"{first['macs'] / 1e6:.1f} M"] if priced else []
        cells = [setting.name, _count(setting), _spread(setting.of("test")), _spread(setting.of("train")), *price]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _count(setting: Setting) -> str:
    lost = len(setting.runs) - len(setting.of("test"))
    return str(len(setting.runs)) + (f", {lost} diverged" if lost else "")


def _spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    if not values:
        return "–"
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def _panel(panel: Experiment, left: float, top: float, scale: float) -> Iterator[str]:
    """The rows of one experiment, each with its dots."""
    zero, bottom = left + LEFT, top + HEAD - 16 + ROW * len(panel.settings)
    yield _text(left, top + 14, panel.name, "head")
    floor = panel.settings[0].runs[0]["floor"]
    for share in (0.0, 0.2, 0.4, 0.6):
        if zero + share * scale < left + COLUMN:
            x = zero + share * scale
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 20}" y2="{bottom}"/>'
            yield _text(x, top + 14, f"{share:g}", anchor="middle")
    x = zero + floor * scale
    yield f'<line class="floor" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 20}" y2="{bottom}"/>'
    for i, setting in enumerate(panel.settings):
        y = top + 20 + ROW * (i + 0.5)
        yield _text(zero - 10, y + 4, setting.name, "name", "end")
        values = setting.of("test")
        yield from (f'<circle class="dot" cx="{zero + v * scale:.1f}" cy="{y:.1f}" r="4.5"/>' for v in values)
        if values:
            x = zero + statistics.mean(values) * scale
            yield f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 6:.1f}" y2="{y + 6:.1f}"/>'
        yield _text(left + COLUMN, y + 4, f"{statistics.mean(values):.3f}" if values else "diverged", "number", "end")


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


if __name__ == "__main__":
    (RESULTS / "experiments.md").write_text(page(), encoding="utf-8")
    (RESULTS / "experiments.svg").write_text(figure(), encoding="utf-8")
