"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

__all__ = ["count", "percent", "value"]


def count(number: float) -> str:
    """A large number with three figures and its unit.

    >>> count(11689512), count(814), count(1814073344)
    ('11.7 M', '814', '1.81 G')
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}" if number % 1 else f"{number:.0f}"


def percent(share: float | None) -> str:
    """A share in 0..1 as per cent.

    >>> percent(0.98543), percent(None)
    ('98.5 %', '–')
    """
    return "–" if share is None else f"{100 * share:.1f} %"


def value(given: Any) -> str:
    """A word's value as people write it.

    >>> value(None), value(False), value(True), value(0.0005), value("")
    ('–', 'off', 'on', '0.0005', '–')
    """
    if isinstance(given, bool):
        return "on" if given else "off"
    if given is None or given == "":
        return "–"
    return f"{given:.6g}" if isinstance(given, float) else str(given)
