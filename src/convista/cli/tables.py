"""Tables for the terminal, and numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["size", "table"]


def table(rows: Sequence[Sequence[str]], left: Iterable[int]) -> str:
    """Columns as wide as their widest entry, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = set(left)
    lines = [
        "  ".join(
            f"{cell:<{w}}" if i in left else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def size(number: float) -> str:
    """Bytes as people read them, in powers of ten.

    >>> size(114284616), size(3_200_000_000), size(307_368), size(2048)
    ('114 MB', '3.20 GB', '307 kB', '2.05 kB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            places = max(0, 2 - len(str(int(number / unit))) + 1)
            return f"{number / unit:.{places}f} {name}"
    return f"{number:.0f} B"
