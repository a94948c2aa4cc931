"""Feature vectors as points: checked once, exact in float64, and fast where a bound says how far off fast may be."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from convista.errors import InputError, UnknownNameError

__all__ = [
    "METRICS",
    "Points",
    "checked_k",
    "chunks",
    "class_numbers",
    "doubt",
    "matrix",
    "measured",
    "points_of",
    "squares",
]

METRICS = ("cosine", "l2")
SAMPLE = 1000  # rows whose mean is the centre; any centre is right, one amid the points is good
BLOCK = 1 << 21  # float64 numbers that are worked on at a time, which a processor's cache still holds
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Points:
    """n points of D coordinates: `numbers[i] / sizes[i]` in float64.

    For l2 the size is one power of two, so that nothing is rounded and no square is too large. For cosine it is each
    row's norm; half the squared distance of two unit vectors is 1 - cosine, without its cancellation.
    """

    numbers: Numbers  # (n, D)
    sizes: NDArray[np.float64]  # (n,)

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, which: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        """Some of the points: (…) row numbers -> (…, D)."""
        points = self.numbers[which].astype(np.float64)
        points /= self.sizes[which][..., None]
        return points

    def centre(self) -> NDArray[np.float64]:
        """A place amid the points: (D,)."""
        return np.asarray(self.at(slice(None, None, -(-len(self) // SAMPLE))).mean(0))

    def around(self, centre: NDArray[np.float64], kind: type[Any]) -> tuple[Numbers, NDArray[np.float64]]:
        """The points seen from `centre`, (n, D) of `kind`, and their squared distances to it, (n,)."""
        rows, far = np.empty(self.numbers.shape, kind), np.empty(len(self))
        for part in chunks(len(self), self.numbers.shape[1]):
            shifted = self.at(part) - centre
            rows[part], far[part] = shifted, np.square(shifted).sum(-1)
        return rows, far


def points_of(metric: str, **named: ArrayLike | Tensor) -> list[Points]:
    """Arrays (n, D) as points of one space. The names are for messages.

    Raises `InputError` for an unknown metric, for what is no table of finite numbers, for different D, and for
    vectors without a direction under cosine.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    tables = {name: matrix(values, name) for name, values in named.items()}
    widths = {name: table.shape[1] for name, table in tables.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"the {name} have {width:,}" for name, width in widths.items())
        raise InputError(
            f"Numbers a picture: {told}. They are features of different networks or layers; compute both with the "
            "same one."
        )
    if metric == "cosine":
        return [Points(table, _norms(table, name)) for name, table in tables.items()]
    largest = max(float(abs(table).max()) for table in (_ends(table) for table in tables.values()))
    size = float(np.ldexp(1.0, int(np.frexp(largest)[1]) - 1))
    return [Points(table, np.full(len(table), size)) for table in tables.values()]


def matrix(values: ArrayLike | Tensor, name: str = "features") -> Numbers:
    """Features as an array (n, D) of float16, float32 or float64; it is copied only where its type must change.

    Raises `InputError` where there is none, where its shape is another, and where a number is not finite.
    """
    if isinstance(values, Tensor):
        kept = values.detach().cpu()
        values = kept.float().numpy() if kept.element_size() < 4 else kept.numpy()  # numpy knows no bfloat16
    try:
        table = np.asarray(values)
        if table.dtype not in (np.float16, np.float32, np.float64):
            table = table.astype(np.float64, casting="same_kind" if table.dtype.kind == "f" else "safe")
    except (TypeError, ValueError):
        raise InputError(
            f"The {name} are no table of numbers. Expected (n, D): a row of D numbers a picture."
        ) from None
    if table.ndim != 2 or not table.size:
        what = "are empty" if not table.size else "are no table"
        raise InputError(f"The {name} {what}: their shape is {table.shape}. Expected (n, D): a row a picture.")
    if not np.isfinite(_ends(table)).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise InputError(
            f"Row {row} of the {name} holds a number that is not finite. The network's weights or its input are "
            "broken; compute the features anew."
        )
    return table


def class_numbers(labels: Any, n: int) -> tuple[NDArray[np.int64], list[Any]]:
    """A class for each of n pictures -> its number (n,), and the classes in the order in which they come.

    Raises `InputError` where there are more or fewer labels than pictures, or where a label is not one value.
    """
    listed = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if not isinstance(listed, list) or len(listed) != n:
        told = f"{len(listed):,} labels" if isinstance(listed, list) else "one label"
        raise InputError(f"There are {told} for {n:,} features. Expected one for each, in the same order.")
    if not all(isinstance(label, Hashable) for label in listed):
        raise InputError("The labels are a table. Expected one class for each picture: a name or a number.")
    known = {label: i for i, label in enumerate(dict.fromkeys(listed))}
    return np.array([known[label] for label in listed], np.int64), list(known)


def checked_k(k: int, n: int) -> int:
    """How many neighbours to find among n features. Raises `InputError` where that is not a whole number in 1..n-1."""
    try:
        k = operator.index(k)
    except TypeError:
        raise InputError(f"k is {k!r}. Expected how many neighbours to find, a whole number.") from None
    if n < 2:
        raise InputError("There is one feature vector only. Expected two or more: a picture needs others to be near.")
    if not 0 < k < n:
        raise InputError(f"k is {k:,}, and there are {n:,} features. Expected k from 1 to {n - 1:,}.")
    return k


def chunks(n: int, width: int, block: int = BLOCK) -> Iterator[slice]:
    """Slices of 0..n, of as many rows as `block` numbers hold, and one at least."""
    step = max(1, block // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def squares(asked: Points, stored: Points, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """The squared distance of each pair, (p,) and (p,) row numbers -> (p,), from differences: 0 for equal rows."""
    found = np.empty(len(i))
    for part in chunks(len(i), asked.numbers.shape[1]):
        apart = asked.at(i[part])
        apart -= stored.at(j[part])
        found[part] = np.square(apart, out=apart).sum(-1)
    return found


def measured(squared: NDArray[np.float64], metric: str, size: float) -> NDArray[np.float64]:
    """Squared distances of points as distances in the metric."""
    return squared / 2 if metric == "cosine" else np.sqrt(squared) * size


def doubt(kind: type[Any], dimensions: int, a: Any, b: Any) -> Any:
    """How far `|b|^2 - 2 a b`, computed in `kind`, may be off for vectors no longer than a and b.

    A sum of D products is off by at most D u |a| |b| in any order, u being the unit of rounding (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd edition, equation 3.5); rounding of the vectors and their squares adds less
    than 8 u. The float64 distance that it stands for has a rounding of its own.
    """
    limits = np.finfo(kind)
    unit = float(limits.eps) / 2 + 2.0**-53
    return 1.1 * (dimensions + 8) * unit * np.square(a + b) + 16 * dimensions * float(limits.tiny)


def _ends(table: Numbers) -> NDArray[np.float64]:
    """The smallest and the largest number; not a number where there is one such."""
    return np.array([table.min(), table.max()], np.float64)


def _norms(table: Numbers, name: str) -> NDArray[np.float64]:
    """The Euclidean norm of each row, whatever its size."""
    norms = np.empty(len(table))
    for part in chunks(len(table), table.shape[1]):
        rows = table[part].astype(np.float64)
        peaks = np.abs(rows).max(-1)
        if not peaks.all():
            raise InputError(
                f"Row {part.start + int(peaks.argmin())} of the {name} is all zeros, which has no direction, so no "
                "cosine. Use the metric l2, or leave the picture out."
            )
        rows /= peaks[:, None]
        norms[part] = np.sqrt(np.square(rows).sum(-1)) * peaks
    return norms
