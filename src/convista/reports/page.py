"""The report of a run: one HTML page that opens offline."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, Template
from numpy.typing import NDArray

from convista.records import Cost, Epoch, Score
from convista.reports.figures import curves, filter_sheet, heat_map
from convista.reports.losses import judged_terms, loss_terms
from convista.reports.text import count, percent, value
from convista.transfer.plan import HEAD

__all__ = ["Material", "render", "template"]

LARGEST_TABLE = 20  # classes of a confusion matrix with readable cells
MOST_FILES = 300  # bad files listed one by one
CONFUSED = 12  # pairs of classes listed


@dataclass(frozen=True)
class Material:
    """All that a report shows. `info` is the run's record, `mistakes` its most confident wrong answers."""

    info: dict[str, Any]
    history: list[Epoch]
    cost: Cost
    test: Score
    val: Score
    filters: NDArray[np.uint8]
    mistakes: list[dict[str, Any]]


def render(material: Material) -> str:
    """The page as HTML text, with every picture and style inside."""
    history, confusion = material.history, np.array(material.test.confusion)
    info, recipe, first = material.info, material.info["recipe"], history[0].epoch if history else 1
    head = "from" in info and not info.get("planned", {}).get("first")  # nothing else has learned
    small = len(material.test.classes) <= LARGEST_TABLE
    return template("run.html").render(
        m=material,
        info=info,
        recipe=recipe,
        unused=_unused(recipe) if head else (),
        terms=loss_terms(recipe, info.get("policy") or recipe.get("augment", ""), head),
        judged=judged_terms(recipe, head),
        loss=curves({"train": [e.train_loss for e in history], "val": [e.val_loss for e in history]}, "loss", first),
        top1=curves({"train": [e.train_top1 for e in history], "val": [e.val_top1 for e in history]}, "top-1", first),
        speed=statistics.fmean([e.pictures_per_second for e in history if e.epoch] or [0.0]),
        confusion=_cells(confusion) if small else None,
        heat=None if small else heat_map(confusion),
        confused=_confused(confusion, material.test),
        filters=filter_sheet(material.filters),
        filter_shape=material.filters.shape,
        reasons=Counter(file["reason"] for file in info["bad_files"]).most_common(),
        files=info["bad_files"][:MOST_FILES],
        widest=max(row.macs for row in material.cost.stages) or 1,
    )


def _unused(recipe: dict[str, Any]) -> set[str]:
    """The words that a head alone does not ask for."""
    return recipe.keys() - {*HEAD, "model", "image", "channels"}


def _cells(confusion: NDArray[np.int64]) -> list[list[tuple[int, float]]]:
    """Counts and each one's share of its row."""
    rows = np.maximum(1, confusion.sum(1))
    return [[(int(n), float(n / total)) for n in row] for row, total in zip(confusion, rows, strict=True)]


def _confused(confusion: NDArray[np.int64], score: Score) -> list[tuple[str, str, int]]:
    wrong = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]
    pairs = [divmod(int(i), len(confusion)) for i in order]
    return [(score.classes[a].label, score.classes[b].label, int(wrong[a, b])) for a, b in pairs if wrong[a, b]]


@cache
def template(name: str) -> Template:
    """A page's template, with the filters and the style that all pages share."""
    environment = Environment(
        loader=PackageLoader("convista.reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": count, "percent": percent, "value": value}
    return environment.get_template(name)
