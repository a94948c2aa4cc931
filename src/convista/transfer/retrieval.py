"""How well features find pictures of the same class: recall, precision, mean average precision, and their floors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convista.errors import InputError
from convista.transfer.points import Points, checked_k, chunks, class_numbers, doubt, points_of, squares

__all__ = ["Retrieval", "retrieval"]

SCORES = 1 << 22  # scores in memory at a time


@dataclass(frozen=True)
class Retrieval:
    """How well each picture finds the others of its class; all figures in 0..1, means over `pictures` queries.

    `scores` has `recall@k` (at least one of the k nearest others is of the class), `precision@k` (the share of the k
    nearest others that are), and `map`, the mean average precision (see `retrieval`). `floor` is what a random order
    scores on average. `alone` counts the pictures that no other shares a class with: they have nothing to find and
    are no queries, but others may find them.
    """

    metric: str
    pictures: int
    alone: int
    scores: dict[str, float]
    floor: dict[str, float]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {score:.3f} (floor {self.floor[name]:.3f})" for name, score in self.scores.items())
        return f"{self.pictures:,} pictures, {self.metric}: {told}"


def retrieval(
    features: ArrayLike | Tensor, labels: Any, ks: Sequence[int] = (1, 5, 10), metric: str = "l2"
) -> Retrieval:
    """Each picture asks for the others of its class: features (n, D), n labels -> `Retrieval`.

    All others are ranked by their exact distance, of equal ones the lower row first. With `hit(t)` 1 where rank t is
    of the class, else 0, and r others of the class, `average precision = 1 / r * sum over t of hit(t) * precision@t`:
    the mean, over the others of the class, of the precision at their ranks (Manning, Raghavan and Schütze,
    Introduction to Information Retrieval, section 8.4). It is not interpolated, and no rank is cut off.

    Memory holds the features once more in float64; time grows with n squared. Raises `InputError` where the features
    or labels do not fit, where a k is not in 1..n-1, and where no class has two pictures.

    >>> found = retrieval([[0.0], [1.0], [5.0], [6.5]], ["cat", "cat", "dog", "dog"], ks=(1,))
    >>> found.scores["recall@1"], round(found.floor["recall@1"], 3)
    (1.0, 0.333)
    """
    (points,) = points_of(metric, features=features)
    n = len(points)
    classes, _ = class_numbers(labels, n)
    ks = [checked_k(k, n) for k in ks]
    relevant = np.bincount(classes)[classes] - 1
    asking = np.flatnonzero(relevant)
    if not len(asking):
        raise InputError("No two pictures share a class, so there is nothing to find. Were the labels mixed up?")
    sums = dict.fromkeys(_scores(np.zeros((1, n - 1), bool), np.ones(1), ks), 0.0)
    ranking = _Ranking.of(points)
    for part in chunks(len(asking), n, SCORES):
        rows = asking[part]
        hits = classes[ranking.order(rows)] == classes[rows, None]
        for name, values in _scores(hits, relevant[rows], ks).items():
            sums[name] += float(values.sum())
    scores = {name: total / len(asking) for name, total in sums.items()}
    return Retrieval(metric, len(asking), n - len(asking), scores, _floor(relevant[asking], n - 1, ks))


def _scores(hits: NDArray[np.bool_], relevant: NDArray[Any], ks: Sequence[int]) -> dict[str, NDArray[np.floating[Any]]]:
    """Each query's figures, from whether each rank is of its class (q, n-1) and how many are (q,)."""
    found = hits.cumsum(1)
    precision = found / np.arange(1, hits.shape[1] + 1)
    scores: dict[str, NDArray[np.floating[Any]]] = {f"recall@{k}": (found[:, k - 1] > 0).astype(float) for k in ks}
    scores |= {f"precision@{k}": precision[:, k - 1] for k in ks}
    return scores | {"map": (precision * hits).sum(1) / relevant}


def _floor(relevant: NDArray[np.int64], others: int, ks: Sequence[int]) -> dict[str, float]:
    """The mean of the same figures over all orders of the others.

    None of k drawn from N others is among the r relevant with probability C(N - r, k) / C(N, k). A relevant picture
    is at each rank t as likely, and then (t - 1) (r - 1) / (N - 1) relevant ones are expected before it.
    """
    r, ranks = relevant.astype(float), np.arange(1, others + 1)
    floor = {f"recall@{k}": float(1 - _missed(r, others, k).mean()) for k in ks}
    floor |= {f"precision@{k}": float(r.mean() / others) for k in ks}
    before = (r - 1) / max(1, others - 1)
    harmonic = float((1 / ranks).sum())
    return floor | {"map": float(((harmonic + (others - harmonic) * before) / others).mean())}


def _missed(relevant: NDArray[np.float64], others: int, k: int) -> NDArray[np.float64]:
    """C(N - r, k) / C(N, k), a draw at a time."""
    share = np.ones(len(relevant))
    for drawn in range(k):
        share *= np.maximum(0, others - relevant - drawn) / (others - drawn)
    return share


@dataclass(frozen=True, eq=False)
class _Ranking:
    """All pictures around a centre, in float64."""

    points: Points
    near: NDArray[np.float64]  # (n, D)
    far: NDArray[np.float64]  # (n,) squared distances to the centre

    @classmethod
    def of(cls, points: Points) -> _Ranking:
        near, far = points.around(points.centre(), np.float64)
        return cls(points, near.astype(np.float64, copy=False), far)

    def order(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """All others of some rows, (q,) -> (q, n-1), the nearest first.

        What the product in float64 cannot tell apart is measured by differences.
        """
        scores = -2 * self.near[rows] @ self.near.T + self.far + self.far[rows, None]
        scores[np.arange(len(rows)), rows] = np.inf
        order = scores.argsort(1)
        unsure = 2 * doubt(np.float64, self.near.shape[1], np.sqrt(self.far[rows]), np.sqrt(self.far.max()))
        gaps = np.diff(np.take_along_axis(scores, order, 1)[:, :-1], axis=1) <= unsure[:, None]
        if gaps.any():
            i, t = np.nonzero(np.pad(gaps, ((0, 0), (0, 1))) | np.pad(gaps, ((0, 0), (1, 0))))
            scores[i, order[i, t]] = squares(self.points, self.points, rows[i], order[i, t])
            again = np.unique(i)
            order[again] = scores[again].argsort(1, kind="stable")
        return order[:, :-1]
