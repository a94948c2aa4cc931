"""Query pictures and their nearest neighbours, as a page that opens offline."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convista.errors import InputError
from convista.reports.page import template
from convista.reports.sprites import Gallery, sprite
from convista.transfer import Retrieval

__all__ = ["neighbours_page"]

MOST = 200  # queries on a page
SIDE = 96  # pixels of a thumbnail
FAR = {"l2": "Euclidean distance", "cosine": "1 − cosine"}


@dataclass(frozen=True)
class Shown:
    """One picture on the page: where it is in the sprite, and what is written below it.

    `same` says whether it is of the query's class; None for the query, and where a class is not known.
    """

    place: tuple[int, int]
    name: str
    label: str | None
    distance: float = 0.0
    same: bool | None = None


def neighbours_page(
    title: str,
    queries: Gallery,
    features: Gallery,
    distances: NDArray[np.float64],
    rows: NDArray[np.int64],
    metric: str = "l2",
    scores: Retrieval | None = None,
) -> str:
    """The page as HTML text, with every picture and style inside; the first 200 queries are shown.

    `distances` and `rows` (m, k) are what `nearest` found for the m queries among the features; a neighbour is right
    where its class is the query's. Raises `InputError` where they do not fit the galleries.
    """
    _check(queries, features, distances, rows)
    count, used = min(MOST, len(queries)), np.unique(rows[:MOST])
    sheet = sprite([*list(queries.thumbnails[:count]), *(features.thumbnails[i] for i in used)], SIDE)
    place = {row: sheet.place(count + t) for t, row in enumerate(used.tolist())}
    same = [[_same(label, features.labels[j]) for j in near] for label, near in zip(queries.labels, rows, strict=True)]
    shown = [
        (
            Shown(sheet.place(i), queries.name(i), queries.labels[i]),
            [
                Shown(place[j], features.name(j), features.labels[j], *told)
                for j, *told in zip(rows[i].tolist(), distances[i].tolist(), same[i], strict=True)
            ],
        )
        for i in range(count)
    ]
    judged = [right for near in same for right in near if right is not None]
    return template("neighbours.html").render(
        title=title,
        sheet=sheet,
        shown=shown,
        total=len(queries),
        stored=len(features),
        k=rows.shape[1],
        far=FAR.get(metric, metric),
        share=sum(judged) / len(judged) if judged else None,
        floor=_floor(queries, features),
        scores=scores,
    )


def _check(queries: Gallery, features: Gallery, distances: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
    if rows.ndim != 2 or rows.shape != distances.shape or len(rows) != len(queries) or not rows.size:
        raise InputError(
            f"There are {len(queries):,} queries, distances {distances.shape} and rows {rows.shape}. Expected (m, k) "
            "of both, as `nearest` gives them for m queries."
        )
    if rows.min() < 0 or rows.max() >= len(features):
        raise InputError(f"The rows go from {rows.min()} to {rows.max()}, and there are {len(features):,} pictures.")


def _floor(queries: Gallery, features: Gallery) -> float:
    """The share of right neighbours if they were drawn at random from the pictures whose class is known."""
    known = Counter(label for label in features.labels if label is not None)
    asking = [label for label in queries.labels if label is not None]
    return sum(known[label] for label in asking) / max(1, known.total() * len(asking))


def _same(mine: str | None, other: str | None) -> bool | None:
    """Whether two pictures share a class; None where one's is not known."""
    return None if mine is None or other is None else mine == other
