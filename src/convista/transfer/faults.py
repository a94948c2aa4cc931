"""Pictures that deserve a second look: near-duplicates, and those whose neighbours are of another class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convista.errors import InputError
from convista.transfer.neighbours import nearest
from convista.transfer.points import chunks, class_numbers, points_of

__all__ = ["Disagreement", "Duplicates", "disagreeing", "duplicates", "usual_threshold"]

ROUNDING = 1e-12  # of a cosine in float64, generously: equal rows are duplicates at the threshold 1
SCORES = 1 << 22  # scores in memory at a time
SAMPLE = 1000  # pictures that tell how far apart nearest ones usually are
CLOSE = 0.4  # times that distance is as near as two views of one thing; see docs/results/neighbours.md


@dataclass(frozen=True)
class Duplicates:
    """Pictures (row numbers, ascending) that hang together by near-duplicates; `similarity`: of the closest two."""

    rows: tuple[int, ...]
    similarity: float


@dataclass(frozen=True)
class Disagreement:
    """A picture whose neighbours are mostly of other classes than its own `label`.

    `others` of its `k` neighbours are; `suggested` of these say `suggestion`. `peers` other pictures share its label:
    where they are fewer than k / 2, it cannot but disagree.
    """

    row: int
    label: Any
    suggestion: Any
    suggested: int
    others: int
    k: int
    peers: int


def duplicates(features: ArrayLike | Tensor, threshold: float) -> list[Duplicates]:
    """Groups of near-duplicates among n pictures, the most similar group first: features (n, D) -> groups.

    Two pictures are near-duplicates where the cosine of their features is at least `threshold`; a group is what such
    pairs connect, so its farthest two may be less similar. What threshold is right depends on the network: look at
    the groups. At 1 only features of equal direction are found.

    Raises `InputError` for a threshold that is not in -1..1 (without -1), and where the features have no direction.

    >>> duplicates([[1.0, 0.0], [0.0, 1.0], [2.0, 0.01]], 0.99)[0].rows
    (0, 2)
    """
    if not -1 < threshold <= 1:
        raise InputError(f"The threshold is {threshold}. Expected a cosine, above -1 and at most 1; 0.95 is a start.")
    (points,) = points_of("cosine", features=features)
    if len(points) < 2:
        return []
    limit = 1 - threshold + ROUNDING
    closest = nearest(points.numbers, points.numbers, 1, "cosine", exclude_self=True)[0][:, 0]
    rows = np.flatnonzero(closest <= limit)
    members: dict[int, list[int]] = {}
    for row, group in zip(rows.tolist(), _connected(points.at(rows), limit).tolist(), strict=True):
        members.setdefault(group, []).append(row)
    found = [Duplicates(tuple(m), float(1 - closest[m].min())) for m in members.values() if len(m) > 1]
    return sorted(found, key=lambda group: (-group.similarity, group.rows))


def usual_threshold(features: ArrayLike | Tensor) -> float:
    """The cosine from which two of n pictures are near-duplicates, by what is usual among them: features (n, D).

    It is that of pictures 0.4 times as far apart as a picture and its nearest usually are (the median of 1,000): how
    similar all pictures of a set are depends on the network. Raises `InputError` as `duplicates` does.
    """
    (points,) = points_of("cosine", features=features)
    n = len(points)
    if n < 3:
        return 1.0
    some = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).round().astype(np.int64))
    distances, _ = nearest(points.numbers[some], points.numbers, 2, "cosine")
    return float(1 - CLOSE * np.median(distances[:, 1]))


def disagreeing(features: ArrayLike | Tensor, labels: Any, k: int = 10, metric: str = "cosine") -> list[Disagreement]:
    """Likely label errors: pictures of which most of the k nearest others are of another class, the most first.

    Features (n, D), n labels -> records; among equally many the nearer neighbours' class is suggested, and the lower
    row comes first. A floor to compare the number with: labels that were dealt out at random would have about
    `1 - the sum of the classes' squared shares` of all neighbours disagree.

    Raises `InputError` where the features or labels do not fit, and where k is not in 1..n-1.

    >>> found = disagreeing([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]], list("aabbbb"), k=2, metric="l2")
    >>> [(it.row, it.label, it.suggestion) for it in found]
    [(2, 'b', 'a')]
    """
    (points,) = points_of(metric, features=features)
    classes, names = class_numbers(labels, len(points))
    _, near = nearest(points.numbers, points.numbers, k, metric, exclude_self=True)
    said = classes[near]
    others = (said != classes[:, None]).sum(1)
    peers = np.bincount(classes)[classes] - 1
    rows = np.flatnonzero(2 * others > k)
    found = []
    for row in rows[np.argsort(-others[rows], kind="stable")].tolist():
        (most, times), *_ = Counter(c for c in said[row].tolist() if c != classes[row]).most_common(1)
        told = names[classes[row]], names[most], times, int(others[row]), k, int(peers[row])
        found.append(Disagreement(row, *told))
    return found


def _connected(units: NDArray[np.float64], limit: float) -> NDArray[np.int64]:
    """Unit vectors (u, D) -> the number of each one's group (u,), linked where 1 - cosine is within the limit."""
    from scipy.sparse import coo_array  # slow to load
    from scipy.sparse.csgraph import connected_components

    groups = np.arange(len(units))
    for part in chunks(len(units), len(units), SCORES):
        i, j = np.nonzero(1 - units[part] @ units.T <= limit)
        links = coo_array((np.ones(len(i), bool), (groups[i + part.start], groups[j])), shape=(len(units),) * 2)
        groups = connected_components(links, directed=False)[1][groups]
    return groups
