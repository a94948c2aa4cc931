"""Nearest neighbours among feature vectors: exact, at the speed of a matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convista.errors import InputError
from convista.transfer.points import Numbers, Points, checked_k, chunks, doubt, measured, points_of, squares

__all__ = ["nearest"]

MARGIN = 16  # candidates more than are asked for
SCORES = 1 << 24  # scores in memory at a time
QUERIES, COLUMNS = 1024, 4096  # rows of both sides at a time where the product is in float64
Found = tuple[NDArray[np.float64], NDArray[np.int64]]


def nearest(
    queries: ArrayLike | Tensor,
    features: ArrayLike | Tensor,
    k: int = 10,
    metric: str = "l2",
    exclude_self: bool = False,
) -> Found:
    """The k features nearest to each query: (m, D), (n, D) -> distances (m, k) and row numbers (m, k), nearest first.

    `metric` is "l2" (Euclidean) or "cosine" (1 - cosine, 0..2). The answer is that of float64 distances by
    differences, of equal ones the lower row first, so a row is at exactly 0 from itself and its copies. With
    `exclude_self`, query i is feature i and no neighbour of its own. Beside the features, memory holds them once more
    in float32.

    Candidates come from a product in float32 and are measured in float64. Where a bound on its error (see `doubt`)
    does not prove that nothing nearer was passed over, the query's product is taken in float64.

    Raises `InputError` where k is not in 1..n-1, and where the features are none (see `points_of`).

    >>> distances, rows = nearest([[0.0, 1.0]], [[3.0, 5.0], [0.0, 0.0], [0.0, 1.0]], k=2)
    >>> distances.tolist(), rows.tolist()
    ([[0.0, 1.0]], [[2, 1]])
    """
    asked, stored = points_of(metric, queries=queries, features=features)
    k = checked_k(k, len(stored))
    if exclude_self and not (queries is features or np.array_equal(asked.numbers, stored.numbers)):
        raise InputError("exclude_self needs the features themselves as queries, in the same order; these differ.")
    search = _Search.among(stored, k, metric, exclude_self)
    parts = [search.rough(asked, part) for part in chunks(len(asked), len(stored), SCORES)]
    distances, rows = (np.concatenate(values) for values in zip(*(found for found, _ in parts), strict=True))
    unproven = np.flatnonzero(~np.concatenate([proven for _, proven in parts]))
    for part in chunks(len(unproven), 1, QUERIES):
        some = unproven[part]
        distances[some], rows[some] = search.sure(asked, some, distances[some, -1])
    return distances, rows


@dataclass(frozen=True, eq=False)
class _Search:
    """What all queries share: the features around a centre, in float32."""

    stored: Points
    k: int
    metric: str
    exclude: bool
    centre: NDArray[np.float64]  # (D,)
    near: Numbers  # (n, D)
    far: NDArray[np.float64]  # (n,) squared distances to the centre

    @classmethod
    def among(cls, stored: Points, k: int, metric: str, exclude: bool) -> _Search:
        centre = stored.centre()
        return cls(stored, k, metric, exclude, centre, *stored.around(centre, np.float32))

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """The rows that may be among the k nearest of anything, whatever is equal."""
        return _few_copies(self.stored.numbers, self.k + 1)

    def rough(self, asked: Points, part: slice) -> tuple[Found, NDArray[np.bool_]]:
        """The k best of the k + `MARGIN` that the product in float32 proposes, and which answers it proves."""
        queries = asked.at(part) - self.centre
        scores = np.matmul((-2 * queries).astype(np.float32), self.near.T)
        scores += self.far.astype(np.float32)
        rows = np.arange(part.start, part.stop)
        if self.exclude:
            scores[np.arange(len(rows)), rows] = np.inf
        count = min(self.k + MARGIN, len(self.stored))
        best = torch.from_numpy(scores).topk(count, largest=False)
        columns = np.sort(best.indices.numpy(), axis=1)
        squared = squares(asked, self.stored, np.repeat(rows, count), columns.ravel()).reshape(columns.shape)
        if self.exclude:
            squared[columns == rows[:, None]] = np.inf
        distances = self._measured(squared)
        order = np.argsort(distances, axis=1, kind="stable")[:, : self.k]
        last = np.take_along_axis(squared, order[:, -1:], 1)[:, 0]
        away = np.square(queries).sum(-1)
        slack = doubt(np.float32, queries.shape[1], np.sqrt(away), np.sqrt(self.far.max()))
        proven = away + best.values[:, -1].numpy() - slack > last
        found = np.take_along_axis(distances, order, 1), np.take_along_axis(columns, order, 1)
        return found, proven | (count == len(self.stored))

    def sure(self, asked: Points, rows: NDArray[np.int64], within: NDArray[np.float64]) -> Found:
        """The k nearest of a few queries, of which k are known to lie `within` a distance."""
        i, j = self._possible(asked, rows, within)
        distances = self._measured(squares(asked, self.stored, rows[i], j))
        order = np.lexsort((j, distances, i))
        first = np.searchsorted(i[order], np.arange(len(rows)))
        best = order[first[:, None] + np.arange(self.k)]
        return distances[best], j[best]

    def _possible(
        self, asked: Points, rows: NDArray[np.int64], within: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All pairs (position in `rows`, feature) that a product in float64 does not put beyond the distance."""
        queries = asked.at(rows) - self.centre
        away = np.square(queries).sum(-1)
        limit = within * 2 if self.metric == "cosine" else np.square(within / self.stored.sizes[0])
        pairs = []
        for part in chunks(len(self.kept), 1, COLUMNS):
            columns = self.kept[part]
            scores = -2 * queries @ (self.stored.at(columns) - self.centre).T + self.far[columns] + away[:, None]
            lengths = np.sqrt(away)[:, None], np.sqrt(self.far[columns])
            scores -= doubt(np.float64, queries.shape[1], *lengths) + 1e-12 * limit[:, None]
            i, j = np.nonzero(scores <= limit[:, None])
            pairs.append((i, columns[j]))
        i, j = (np.concatenate(side) for side in zip(*pairs, strict=True))
        other = rows[i] != j if self.exclude else slice(None)
        return i[other], j[other]

    def _measured(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        return measured(squared, self.metric, float(self.stored.sizes[0]))


def _few_copies(table: Numbers, most: int) -> NDArray[np.int64]:
    """The rows that are not preceded by `most` equal ones: no other row can be among that many nearest."""
    whole = np.ascontiguousarray(table)
    _, kind = np.unique(whole.view(np.dtype((np.void, whole[0].nbytes))).ravel(), return_inverse=True)
    order = np.argsort(kind, kind="stable")
    first = np.searchsorted(kind[order], kind[order])
    return np.sort(order[np.arange(len(order)) - first < most])
