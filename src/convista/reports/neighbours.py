"""Query pictures and their nearest neighbours, as a page that opens offline."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convista.errors import InputError
from convista.reports.page import template
from convista.reports.sprites import Gallery, Stored, sprite
from convista.transfer import Neighbours, Retrieval

__all__ = ["found_page", "neighbours_page"]

MOST = 200  # queries on a page
SIDE = 96  # pixels of a thumbnail
FAR = {"l2": "Euclidean distance", "cosine": "1 − cosine"}


@dataclass(frozen=True)
class Shown:
    """One picture on the page: where it is in the sprite, and what is written below it.

    `same` says whether it is of the query's class; None for the query, and where a class is not known. `itself` says
    whether it is the query.
    """

    place: tuple[int, int]
    name: str
    label: str | None
    distance: float = 0.0
    same: bool | None = None
    itself: bool = False


def found_page(found: Neighbours) -> str:
    """The page of what `convista neighbours` has found, as HTML text."""
    asked, stored = found.found.queries, found.found.stored
    queries = Gallery(Stored(asked.pictures), found.found.labels, asked.paths, asked.contents)
    features = Gallery(Stored(stored.pictures), stored.labels, stored.paths, stored.contents)
    title = f"Nearest pictures, seen by {found.model}"
    return neighbours_page(title, queries, features, found.found.distances, found.found.rows, found.metric)


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
    where its class is the query's. A query that is found itself is marked, and does not count as right. Raises
    `InputError` where they do not fit the galleries.
    """
    _check(queries, features, distances, rows)
    count, used = min(MOST, len(queries)), np.unique(rows[:MOST])
    sheet = sprite([*list(queries.thumbnails[:count]), *(features.thumbnails[i] for i in used)], SIDE)
    place = {row: sheet.place(count + t) for t, row in enumerate(used.tolist())}
    itself = _itself(queries, features, rows)
    same = [
        [None if copy else _same(label, features.labels[j]) for j, copy in zip(near, copies, strict=True)]
        for label, near, copies in zip(queries.labels, rows, itself, strict=True)
    ]
    shown = [
        (
            Shown(sheet.place(i), queries.name(i), queries.labels[i]),
            [
                Shown(place[j], features.name(j), features.labels[j], *told)
                for j, *told in zip(rows[i].tolist(), distances[i].tolist(), same[i], itself[i].tolist(), strict=True)
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
        copies=bool(itself.any()),
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


def _itself(queries: Gallery, features: Gallery, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which neighbours are the query itself, (m, k)."""
    if not queries.contents or not features.contents:
        return np.zeros(rows.shape, bool)
    return np.array(
        [[features.contents[j] == mine for j in near] for mine, near in zip(queries.contents, rows, strict=True)]
    )


def _floor(queries: Gallery, features: Gallery) -> float:
    """The share of right neighbours if they were drawn at random from the other pictures whose class is known."""
    known = Counter(label for label in features.labels if label is not None)
    copies = Counter(zip(features.contents, features.labels, strict=False))
    shares = []
    for label, content in zip(queries.labels, queries.contents or [""] * len(queries), strict=True):
        if label is not None:
            own = copies[content, label]
            shares.append((known[label] - own) / max(1, known.total() - own))
    return sum(shares) / max(1, len(shares))


def _same(mine: str | None, other: str | None) -> bool | None:
    """Whether two pictures share a class; None where one's is not known."""
    return None if mine is None or other is None else mine == other
