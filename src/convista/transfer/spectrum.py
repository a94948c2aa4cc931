"""Features as every method here wants them: checked, on one scale, and along their principal axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convista.errors import InputError

__all__ = ["Axes", "Classes", "Features", "Numbers", "check", "check_finite", "parts", "principal", "standards"]

Features = NDArray[np.floating[Any]]  # of any precision; fp16 as they lie in a store
Numbers = NDArray[np.float64]
Classes = NDArray[np.int64]

ROWS = 4096  # features that are turned into float64 at a time
STILL = 1e-6  # a feature whose standard deviation is a smaller part of its mean than this is constant but for rounding
USUAL = 0.1  # part of the features' median variance that is added to each
TINY = 1e-12  # axes with a smaller part of the largest sum of squares than this are rounding errors


@dataclass(frozen=True, eq=False)
class Axes:
    """The r principal axes of n standardised features, and their sums of squares along each: `strengths` (r,).

    `directions` is (D, r). A feature that is the same for every picture has an infinite `scale`: it counts for nothing.
    """

    mean: Numbers
    scale: Numbers
    directions: Numbers
    strengths: Numbers

    def along(self, features: Features, dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
        """Where pictures lie: features (n, D) -> (n, r). Of those the axes were made of, each column sums to 0."""
        found = np.empty((len(features), len(self.strengths)), dtype)
        for rows in parts(len(features)):
            found[rows] = _standardised(features[rows], self.mean, self.scale) @ self.directions
        return found

    def folded(self, coefficients: Numbers, bias: Numbers) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coefficients (r, C) and bias (C,) along the axes -> weights (C, D) and bias (C,) of features as they come."""
        weights = self.directions @ coefficients / self.scale[:, None]
        return np.ascontiguousarray(weights.T, np.float32), (bias - self.mean @ weights).astype(np.float32)


def principal(features: Features) -> Axes:
    """The axes of features (n, D), from the eigenvectors of their Gram matrix, n x n or D x D, whichever is smaller.

    Raises `InputError` where no feature tells one picture from another.
    """
    mean, scale = standards(features)
    few = len(features) <= features.shape[1]
    if few:
        standardised = _standardised(features, mean, scale)
        strengths, vectors = np.linalg.eigh(standardised @ standardised.T)
    else:
        strengths, vectors = np.linalg.eigh(_gram(features, mean, scale))
    real = strengths > TINY * strengths[-1]
    strengths, vectors = strengths[real], vectors[:, real]
    directions = standardised.T @ (vectors / np.sqrt(strengths)) if few else vectors
    return Axes(mean, scale, directions, strengths)


def standards(features: Features) -> tuple[Numbers, Numbers]:
    """Mean and scale (D,) of features (n, D): the root of each variance and a tenth of the features' median variance.

    Without that tenth, a feature that hardly any of the pictures shows would outweigh all others in the first new
    picture that does, which spoils probes on few pictures. The scale is infinite for features that never change. Raises
    `InputError` where none does.
    """
    mean = features.mean(0, dtype=np.float64)
    squares = sum(((features[rows] - mean) ** 2).sum(0) for rows in parts(len(features)))
    variance = squares / len(features)
    alive = np.sqrt(variance) > STILL * np.abs(mean)
    if not alive.any():
        raise InputError(
            f"All {len(features):,} pictures have the same {len(mean):,} features, so nothing tells them apart. "
            f"Look at what computed them: its weights, the layer, and how pictures are normalised."
        )
    return mean, np.where(alive, np.sqrt(variance + USUAL * np.median(variance[alive])), np.inf)


def check(features: Features, targets: Classes, classes: int, each: int = 1) -> None:
    """Raises `InputError` unless features (n, D) and targets (n,) suit each other, with `each` pictures a class."""
    if classes < 2:
        raise InputError(f"Only between classes can one choose: at least 2 are needed, and there is {classes}.")
    if not isinstance(targets, np.ndarray):
        raise InputError("Targets are an array of class numbers (n,), such as `targets` of a FeatureTable.")
    if features.ndim != 2 or targets.shape != features.shape[:1] or not features.size:
        raise InputError(
            f"Features (n, D) and as many targets (n,) are needed; there are {features.shape} and {targets.shape}."
        )
    if not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0 or targets.max() >= classes:
        raise InputError(f"Targets are whole numbers in 0..{classes - 1}; there are {np.unique(targets)[[0, -1]]}.")
    counts = np.bincount(targets, minlength=classes)
    if counts.min() < each:
        raise InputError(
            f"Class {counts.argmin()} of 0..{classes - 1} has {counts.min()} pictures, and at least {each} of each are "
            f"needed{' so that one can be learned from and another judged' if each > 1 else ''}. "
            f"Add pictures, or leave the class out."
        )
    check_finite(features)


def check_finite(features: Features) -> None:
    """Raises `InputError` where features (n, ...) are infinite or no numbers, saying of which pictures."""
    bad = [i + rows.start for rows in parts(len(features)) for i in _not_finite(features[rows])]
    if bad:
        raise InputError(
            f"The features of {len(bad):,} of {len(features):,} pictures are not finite, the first being number "
            f"{bad[0]}. Compute them in float32, or leave these pictures out."
        )


def parts(count: int, most: int = ROWS) -> Iterator[slice]:
    """Slices of at most `most` that make up 0..count.

    >>> list(parts(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(start, min(start + most, count)) for start in range(0, count, most))


def _gram(features: Features, mean: Numbers, scale: Numbers) -> Numbers:
    gram = np.zeros((len(mean), len(mean)))
    for rows in parts(len(features)):
        part = _standardised(features[rows], mean, scale)
        gram += part.T @ part
    return gram


def _standardised(features: Features, mean: Numbers, scale: Numbers) -> Numbers:
    return np.asarray((features - mean) / scale)


def _not_finite(features: Features) -> list[int]:
    bad = ~np.isfinite(features).reshape(len(features), -1).all(1)
    return [int(i) for i in np.flatnonzero(bad)]
