"""Feature vectors as a map in the plane: principal components, or t-SNE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convista.errors import InputError, UnknownNameError
from convista.transfer.points import matrix

__all__ = ["Principal", "pca", "project"]

METHODS = ("pca", "tsne")
BEFORE = 50  # principal components that t-SNE sees, as its paper's section 4.2 advises
PERPLEXITY = 30.0
SPREAD = 1e-4  # standard deviation of where t-SNE starts, as in its paper


@dataclass(frozen=True, eq=False)
class Principal:
    """Features along their principal components: `points` (n, width), `directions` (width, D), `mean` (D,).

    `explained` is each component's share of the variance, 0..1; all are 0 where nothing varies.
    """

    points: NDArray[np.float64]
    directions: NDArray[np.float64]
    mean: NDArray[np.float64]
    explained: tuple[float, ...]


def pca(features: ArrayLike | Tensor, width: int = 2) -> Principal:
    """The `width` directions along which features (n, D) vary most, by singular values (Pearson 1901).

    Each direction's largest coefficient is positive (of equal ones the first), so that the same features give the
    same signs everywhere. Directions beyond the features' rank are zero. Raises `InputError` where the features are
    none, or width is below 1.
    """
    table = matrix(features).astype(np.float64)
    if width < 1:
        raise InputError(f"The width is {width}. Expected how many components to keep, 1 or more.")
    mean = table.mean(0)
    table -= mean
    small = np.linalg.qr(table, mode="r") if len(table) > table.shape[1] else table
    _, lengths, directions = np.linalg.svd(small, full_matrices=False)
    heaviest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    directions *= np.where(heaviest < 0, -1.0, 1.0)
    directions[lengths <= lengths[0] * max(table.shape) * np.finfo(np.float64).eps] = 0
    kept = np.zeros((width, table.shape[1]))
    kept[: len(directions)] = directions[:width]
    total = float(np.square(lengths).sum())
    shares = np.zeros(width)
    shares[: len(lengths)] = np.square(lengths[:width]) / (total or 1.0)
    return Principal(table @ kept.T, kept, mean, tuple(shares.tolist()))


def project(features: ArrayLike | Tensor, how: str = "pca", seed: int = 0) -> NDArray[np.float64]:
    """A map of the features: (n, D) -> (n, 2).

    `how` is "pca" (see `pca`), or "tsne": van der Maaten and Hinton 2008, by scikit-learn, from 50 principal
    components, begun at the first two (Kobak and Berens 2019) and a little noise from `seed`; the perplexity is 30, or
    (n - 1) / 3 where that is less. The same seed gives the same map on the same machine; what another seed changes is
    chance. In a t-SNE map who lies beside whom says something; distances between clusters and their sizes do not.

    Raises `InputError` for another `how`, and where the features are none.
    """
    if how not in METHODS:
        raise UnknownNameError("projection", how, METHODS)
    if how == "pca":
        return pca(features).points
    found = pca(features, BEFORE)
    if len(found.points) < 4 or not found.explained[0]:  # too few, or nothing, to lay out
        return found.points[:, :2]
    return _tsne(found.points, seed)


def _tsne(points: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE  # it takes a second to import

    start = points[:, :2] * (SPREAD / points[:, 0].std())
    start += np.random.default_rng(seed).normal(0, SPREAD / 10, start.shape)
    method: dict[str, Any] = {"perplexity": min(PERPLEXITY, (len(points) - 1) / 3), "init": start.astype(np.float32)}
    placed: NDArray[np.float32] = TSNE(random_state=seed, learning_rate="auto", **method).fit_transform(points)
    return placed.astype(np.float64)
