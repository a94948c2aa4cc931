"""Rounding of widths and depths, as the networks that come in many sizes do it."""

from __future__ import annotations

import math

__all__ = ["deeper", "wider"]


def wider(width: int, factor: float, least: int = 8) -> int:
    """`width * factor` as the nearest multiple of 8, but at least `least`, and never more than 10 % too small.

    >>> wider(32, 0.35), wider(24, 1.4)
    (16, 32)
    """
    rounded = max(least, int(width * factor + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width * factor else rounded


def deeper(repeats: int, factor: float) -> int:
    """`repeats * factor`, rounded up."""
    return math.ceil(repeats * factor)
