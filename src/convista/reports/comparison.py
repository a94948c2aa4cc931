"""Runs side by side: as rows of a table, and as a page with their curves over each other."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from convista.records import Epoch
from convista.reports.figures import curves
from convista.reports.losses import LOSS_WORDS
from convista.reports.page import template
from convista.reports.text import count, value
from convista.tasks import Candidate, Comparison, Setting, Spread

__all__ = ["comparison_csv", "comparison_page", "comparison_rows", "setting_rows", "styles"]

FIGURES = ("top1", "top5", "loss", "ece")
SAME = ("n", "state", "floor", "parameters", "MACs")  # columns that a page says once where they do not vary
COLOURS, DASHES = 6, 4  # as in the page's style; each setting has its own pair


def setting_rows(found: Comparison) -> list[list[str]]:
    """A table of settings, its head first: means and sample standard deviations over the runs that are done."""
    words = _columns(found, seed=False)
    head = [
        *(words or ["recipe"]),
        "n",
        "val top-1",
        "test top-1",
        "floor",
        "test loss",
        "seconds",
        "parameters",
        "MACs",
    ]
    rows = []
    for setting in found.settings:
        told = [value(setting.words.get(word)) for word in words] or ["the same"]
        val, test = setting.val, setting.test
        figures = [_spread(val.get("top1")), _spread(test.get("top1")), _number(setting.test_floor.get("top1"))]
        figures += [_spread(test.get("loss")), _spread(setting.seconds, 1)]
        figures += [_count(setting.params), _count(setting.macs)]
        rows.append([*told, str(setting.n), *figures])
    return [head, *rows]


def comparison_rows(found: Comparison) -> list[list[str]]:
    """A table of runs, its head first: where they differ, how far they are, and what they score."""
    words = _columns(found, seed=True)
    head = ["run", *words, "state", "best epoch", "val top-1", "test top-1", "floor", "test top-5", "test loss"]
    head += ["calibration", "seconds", "images/s", "parameters", "MACs"]
    rows = []
    for run in found.runs:
        scores = [run.val.get("top1"), run.test.get("top1"), run.test_floor.get("top1"), run.test.get("top5")]
        best = "–" if run.best_epoch is None else str(run.best_epoch)
        told = [run.name, *(value(run.words.get(word)) for word in words), _state(run), best]
        figures = [_number(x) for x in (*scores, run.test.get("loss"), run.test.get("ece"))]
        figures += [_number(run.seconds, 1), _number(run.images_per_second, 0), _count(run.params), _count(run.macs)]
        rows.append([*told, *figures])
    return [head, *rows]


def comparison_csv(found: Comparison) -> str:
    """One row for each run, every figure in full, as CSV."""
    text, words = io.StringIO(), found.differing
    table = csv.writer(text)
    kinds = ("val", "val_floor", "test", "test_floor")
    plain = ("state", "reason", "params", "macs", "epochs", "best_epoch", "seconds", "images_per_second")
    table.writerow(["run", "path", *words, *plain, *(f"{kind}_{figure}" for kind in kinds for figure in FIGURES)])
    for run in found.runs:
        scores = [getattr(run, kind).get(figure, "") for kind in kinds for figure in FIGURES]
        told = [run.words.get(word, "") for word in words]
        table.writerow([run.name, run.path, *told, *(getattr(run, name) for name in plain), *scores])
    return text.getvalue()


def comparison_page(found: Comparison) -> str:
    """The page as HTML text, with every curve and style inside. Runs of one setting share a colour and a dash."""
    kinds = {name: str(i % (COLOURS * DASHES)) for i, s in enumerate(found.settings) for name in s.runs}
    drawn = [run for setting in found.settings for run in found.runs if run.name in setting.runs and run.history]
    return template("comparison.html").render(
        found=found,
        settings=_folded(setting_rows(found)),
        runs=_folded(comparison_rows(found)),
        unlike=[word for word in found.differing if word in (*LOSS_WORDS, "augment", "crop", "flip")],
        names=[_name(setting, found) for setting in found.settings],
        kinds=[kinds[setting.runs[0]] for setting in found.settings],
        styles=styles(),
        figures=[
            ("train loss (nats)", _curves(drawn, "train_loss", "train loss", kinds)),
            ("validation top-1 (share of pictures)", _curves(drawn, "val_top1", "validation top-1", kinds)),
        ]
        if drawn
        else [],
        scores=[
            (kinds[s.runs[0]], split, [(_spread(score.get(k)), _number(floor.get(k))) for k in FIGURES])
            for s in found.settings
            for split, score, floor in (("val", s.val, s.val_floor), ("test", s.test, s.test_floor))
            if s.n
        ],
        others=[other for setting in found.settings for other in setting.others],
        datas=sorted({run.data for run in found.runs if run.data}),
    )


def _folded(rows: list[list[str]]) -> tuple[list[list[str]], str]:
    """The table without figures that are the same in all its rows, and those in words: a page is not that wide."""
    head, *body = rows
    same = [i for i, name in enumerate(head) if name in SAME and len(body) > 1 and len({row[i] for row in body}) == 1]
    told = ", ".join(f"{head[i]} {body[0][i]}" for i in same)
    return [[cell for i, cell in enumerate(row) if i not in same] for row in rows], told


def styles() -> list[tuple[int, int, int]]:
    """The number of a setting's line, its colour and its dash: neighbours differ in both, and no two in neither."""
    return [(i, i % COLOURS, (i + i // (2 * COLOURS)) % DASHES) for i in range(COLOURS * DASHES)]


def _curves(runs: Sequence[Candidate], figure: str, unit: str, kinds: dict[str, str]) -> str:
    first = min((run.history[0].epoch for run in runs), default=1)  # 0 where one begins as a head

    def line(history: Sequence[Epoch]) -> list[float]:
        return [math.nan] * (history[0].epoch - first) + [float(getattr(row, figure)) for row in history]

    return curves({run.name: line(run.history) for run in runs}, unit, first, kinds)


def _columns(found: Comparison, seed: bool) -> list[str]:
    return [word for word in found.differing if seed or word != "seed"]


def _name(setting: Setting, found: Comparison) -> str:
    """Its words, or its runs' names where no word differs."""
    words = [f"{word} {value(given)}" for word, given in setting.words.items()]
    several = len(found.settings) > 1
    return ", ".join(words) if words and several else ", ".join(setting.runs[:3]) + ", …" * (len(setting.runs) > 3)


def _state(run: Candidate) -> str:
    if run.state == "unfinished":
        most = run.words.get("epochs", "?")
        return f"{run.epochs} of {most} epoch{'s' if most != 1 else ''}"
    return run.state


def _number(number: float | None, places: int = 3) -> str:
    return "–" if number is None else f"{number:,.{places}f}"


def _spread(found: Spread | None, places: int = 3) -> str:
    if found is None or not math.isfinite(found.mean):
        return "–"
    beside = "–" if found.spread is None else f"{found.spread:,.{places}f}"
    return f"{found.mean:,.{places}f} ± {beside}"


def _count(number: int | None) -> str:
    return "–" if number is None else count(number)
