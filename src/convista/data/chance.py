"""Chance: each number a pure function of (seed, epoch, picture), the same on any machine and in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draws", "offsets", "permutation"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draws(seed: int, epoch: int, indices: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for each picture: (len(indices), count). SplitMix64 (Steele et al. 2014).

    A picture's numbers depend on nothing but seed, epoch and its index.

    >>> both = draws(0, 1, np.array([7, 8]), 2)
    >>> bool((draws(0, 1, np.array([8]), 2) == both[1]).all())
    True
    """
    key = _mix(_mix(np.array([seed], np.uint64)) + np.uint64(epoch))
    state = _mix(key + indices.astype(np.uint64))[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
    return np.asarray((_mix(state) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = z + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of `count` pictures in an epoch."""
    return np.argsort(draws(seed, ~epoch & 0xFFFFFFFF, np.arange(count), 1)[:, 0], kind="stable")


def offsets(draw: NDArray[np.float64], slack: int) -> NDArray[np.int64]:
    """Numbers in [0, 1) -> whole pixels in 0..slack, each equally likely."""
    return np.minimum((draw * (slack + 1)).astype(np.int64), slack)
