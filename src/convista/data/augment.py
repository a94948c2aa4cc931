"""Crops and flips, each a pure function of (seed, epoch, picture): the same on any machine, in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["crop", "draws", "flip_changes_class", "offsets", "permutation"]

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


def crop(picture: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """The window (side, side, C) at (top, left); beyond its edges the picture (H, W, C) is mirrored."""
    height, width, _ = picture.shape
    if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
        return picture[top : top + side, left : left + side]
    rows, columns = _mirror(np.arange(top, top + side), height), _mirror(np.arange(left, left + side), width)
    return picture[rows][:, columns]


def _mirror(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    positions = np.abs(positions)
    return np.where(positions >= size, 2 * (size - 1) - positions, positions)


def flip_changes_class(labels: Sequence[str]) -> bool:
    """Whether a mirrored picture would show something else: digits, letters, left and right.

    >>> flip_changes_class(["0", "1", "7"]), flip_changes_class(["turn left", "turn right"])
    (True, True)
    >>> flip_changes_class(["cat", "dog"])
    False
    """
    symbols = all(len(label) == 1 or label.isdigit() for label in labels)
    return symbols or any(re.search(r"(?:^|[\W_])(left|right)(?:$|[\W_])", label.lower()) for label in labels)
