"""The nearest neighbours' vote: what features tell of classes without anything being learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convista.errors import InputError
from convista.transfer.probe import accuracy
from convista.transfer.spectrum import Classes, Features, check, check_finite, parts

__all__ = ["knn", "knn_accuracy"]

SIMILARITIES = 1 << 24  # computed at a time
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
Shares = NDArray[np.float32]


def knn(
    features: Features, targets: Classes, classes: int, queries: Features, k: int = 200, temperature: float = 0.07
) -> Shares:
    """The shares (m, C) of the classes among the `k` pictures nearest to each query (m, D), by cosine.

    A neighbour's vote is exp(similarity / temperature) (Wu et al. 2018, section 3.4); there are at most n. Ties at the
    edge of the neighbourhood are broken in any one way. Features (n, D), targets (n,). Raises `InputError`.

    >>> knn(np.eye(2), np.array([0, 1]), 2, np.array([[0.0, 2.0]])).round(3)
    array([[0., 1.]], dtype=float32)
    """
    _check_vote(features, targets, classes, (k,), temperature)
    if queries.ndim != 2 or not len(queries) or queries.shape[1] != features.shape[1]:
        raise InputError(f"Queries are at least one row of {features.shape[1]} features; here {queries.shape}.")
    check_finite(queries)
    bank = _unit(features)
    found = []
    for rows in parts(len(queries), 1 + SIMILARITIES // len(bank)):
        near, similarities = _nearest(_unit(queries[rows]) @ bank.T, k)
        found.append(_votes(targets[near], similarities, classes, temperature))
    return np.concatenate(found)


def knn_accuracy(
    features: Features, targets: Classes, classes: int, counts: Sequence[int] = COUNTS, temperature: float = 0.07
) -> dict[int, float]:
    """The top-1 accuracy, 0..1, for each number of neighbours, of pictures among all others: for choosing one.

    Features (n, D), targets (n,). More than n - 1 are all others. Raises `InputError`.

    >>> knn_accuracy(np.array([[1.0, 0], [2, 0], [0, 1], [0, 3]]), np.array([0, 0, 1, 1]), 2, (1, 3))
    {1: 1.0, 3: 1.0}
    """
    _check_vote(features, targets, classes, counts, temperature)
    if len(features) < 2:
        raise InputError("A single picture has no neighbours to be judged by.")
    bank = _unit(features)
    right = dict.fromkeys(counts, 0.0)
    for rows in parts(len(bank), 1 + SIMILARITIES // len(bank)):
        similarities = bank[rows] @ bank.T
        np.fill_diagonal(similarities[:, rows], -np.inf)  # none votes for itself
        near, similarities = _nearest(similarities, min(max(counts), len(bank) - 1))
        for k in counts:
            votes = _votes(targets[near[:, :k]], similarities[:, :k], classes, temperature)
            right[k] += accuracy(votes, targets[rows]) * len(votes)
    return {k: total / len(bank) for k, total in right.items()}


def _check_vote(features: Features, targets: Classes, classes: int, counts: Sequence[int], temperature: float) -> None:
    check(features, targets, classes, each=0)
    if not counts or min(counts) < 1 or not temperature > 0:
        raise InputError(f"At least 1 neighbour votes, at a temperature above 0; here {counts} and {temperature}.")


def _unit(features: Features) -> Shares:
    """Rows of length 1; one of zeros stays, equally far from all."""
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)
    return np.asarray(features / np.sqrt(np.where(squares > 0, squares, 1))[:, None], np.float32)


def _nearest(similarities: Shares, k: int) -> tuple[Classes, Shares]:
    """The places of the `k` largest of each row, the largest first, and how large they are: (m, k) each."""
    k = min(k, similarities.shape[1])
    near = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(similarities, near, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(near, order, 1), np.take_along_axis(found, order, 1)


def _votes(labels: Classes, similarities: Shares, classes: int, temperature: float) -> Shares:
    """Labels and similarities (m, k) -> shares (m, C). The most similar first: powers are taken beside its."""
    powers = np.exp((similarities - similarities[:, :1]) / temperature)
    places = labels + classes * np.arange(len(labels))[:, None]
    votes = np.bincount(places.ravel(), powers.ravel(), minlength=classes * len(labels)).reshape(-1, classes)
    return np.asarray(votes / votes.sum(1, keepdims=True), np.float32)
