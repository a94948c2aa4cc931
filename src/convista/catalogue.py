"""Which networks there are, what they cost and how good they are said to be: read from a table, without torch.

The table is `models/published.csv`. `make tables` writes its computed columns anew; the published ones, from `top1` to
`checked`, are kept by hand, and each says where it comes from.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from convista.errors import InputError, UnknownNameError

__all__ = ["TABLE", "Bound", "Budget", "Published", "Wanted", "amount", "catalogue", "comparable", "find"]

TABLE = Path(__file__).parent / "models" / "published.csv"
IMAGENET = "ImageNet-1k val"


@dataclass(frozen=True)
class Published:
    """A row of the catalogue: what a network costs for one picture of the paper's size, and what was published of it.

    `depth` counts convolutions and fully connected layers. `top1` and `top5` are per cent right on `dataset`, judged
    as `protocol` says; None where nothing was published of just this network. `source` says who reports the figures,
    `licence` under what the weights with these figures may be had, empty where there are none; `weights` is the name
    under which `create(…, weights="published")` fetches them, empty where it cannot. `checked` is False where the
    figures were written down from memory and not read again.
    """

    name: str
    family: str
    year: int
    image: int
    channels: int
    params: int
    macs: int
    depth: int
    top1: float | None
    top5: float | None
    dataset: str
    protocol: str
    source: str
    licence: str
    weights: str
    checked: bool

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Published:
        """The record of a row of the file."""
        values: dict[str, Any] = dict(row)
        values |= {key: int(row[key]) for key in ("year", "image", "channels", "params", "macs", "depth")}
        values |= {key: float(row[key]) if row[key] else None for key in ("top1", "top5")}
        return cls(**values | {"checked": row["checked"] == "yes"})

    @property
    def judged_at(self) -> int:
        """The side of the pictures that the accuracy is for: larger than `image`, it cost more MACs than `macs`.

        >>> catalogue()["resnet50_v2"].image, catalogue()["resnet50_v2"].judged_at
        (224, 288)
        """
        crop = re.search(r"crops? (\d+)$", self.protocol)
        return int(crop[1]) if crop else self.image


@cache
def catalogue() -> Mapping[str, Published]:
    """All networks of the package by name.

    >>> catalogue()["resnet18"].params
    11689512
    """
    with TABLE.open(newline="", encoding="utf-8") as file:
        return MappingProxyType({row["name"]: Published.of(row) for row in csv.DictReader(file)})


def amount(word: str, text: str | float) -> float:
    """A number that may end in K, M, G or T, in either case; `word` is what the user called it. For bytes GB and GiB.

    >>> amount("max_params", "2.5M"), amount("max_params", "5,000,000"), amount("max_memory", "8GiB")
    (2500000.0, 5000000.0, 8589934592.0)
    """
    plain = re.sub(r",(?=\d{3}(,|$))", "", str(text).strip().upper())
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:E[+-]?\d+)?|\.\d+)\s*([KMGT]?)(I?)B?", plain)
    if match is None or not 0 < float(match[1]) < float("inf"):
        raise InputError(f"{word}={text} was given; expected a positive number such as 800K, 5M or 1.5G.")
    return float(match[1]) * float((1024 if match[3] else 1000) ** " KMGT".index(match[2] or " "))


def _option(help: str, *choices: str, default: Any = None) -> Any:  # noqa: A002
    return field(default=default, metadata={"help": help, "choices": choices})


ORDERS: dict[str, Callable[[Published], Any]] = {
    "name": lambda row: row.name,
    "year": lambda row: row.year,
    "params": lambda row: row.params,
    "macs": lambda row: row.macs,
    "top1": lambda row: (row.dataset != IMAGENET, row.dataset, -(row.top1 or 0)),
    "image": lambda row: row.image,
}


@dataclass(frozen=True)
class Bound:
    """One bound as the user gave it: on which column, and which rows are within it."""

    word: str
    column: str
    lets: Callable[[Published], bool]


@dataclass(frozen=True)
class Wanted:
    """What somebody looks for among the networks; None sets no bound. Raises `InputError` for a bad word."""

    family: str | None = _option("Only this family, such as resnet or mobilenet_v2.")
    max_params: str | None = _option("At most this many parameters, such as 5M.")
    max_macs: str | None = _option("At most this many multiply-accumulates for one picture, such as 1G.")
    min_top1: float | None = _option(
        "At least this published top-1 in per cent, on ImageNet unless --family says other."
    )
    sort: str | None = _option("Smallest first; for top1 the best first, each data set by itself", *ORDERS)

    def __post_init__(self) -> None:
        if self.sort is not None and self.sort not in ORDERS:
            raise UnknownNameError("order", self.sort, ORDERS)
        _check_top1(self.min_top1)

    def bounds(self, dataset: str) -> list[Bound]:
        """The bounds that are set; top-1 is compared on `dataset` only."""
        return [
            *_at_most("max_params", self.max_params, "params"),
            *_at_most("max_macs", self.max_macs, "macs"),
            *_at_least(self.min_top1, dataset),
        ]


def _at_most(word: str, limit: str | None, column: str) -> list[Bound]:
    if limit is None:
        return []
    most = amount(word, limit)
    return [Bound(f"{word}={limit}", column, lambda row: getattr(row, column) <= most)]


def _at_least(least: float | None, dataset: str) -> list[Bound]:
    if least is None:
        return []
    return [Bound(f"min_top1={least:g}", "top1", lambda row: row.dataset == dataset and (row.top1 or 0) >= least)]


@dataclass(frozen=True)
class Budget:
    """What a network may cost, and how good it must be; None sets no bound. Raises `InputError` for a bad word."""

    max_params: str | None = _option("At most this many parameters, such as 5M.")
    max_macs: str | None = _option("At most this many multiply-accumulates for one picture, such as 600M.")
    max_ms: float | None = _option("At most this many milliseconds for a batch, measured here and now.")
    max_memory: str | None = _option("At most this many bytes at the worst moment, such as 2G (2 * 10^9).")
    min_top1: float | None = _option("At least this published top-1 in per cent.")
    family: str | None = _option("Only this family, such as resnet or mobilenet_v2.")
    image: int | None = _option("Side of the pictures in pixels; each network's own if not given.")
    batch: int = _option("Pictures at once, for milliseconds and memory.", default=1)
    training: bool = _option("Memory is that of a training step with AdamW, not of inference.", default=False)

    def __post_init__(self) -> None:
        _check_top1(self.min_top1)
        for word, kind in (("max_ms", (int, float)), ("image", int), ("batch", int)):
            value = getattr(self, word)
            if value is not None and (not isinstance(value, kind) or not value > 0):
                raise InputError(f"{word}={value!r} was given; expected a positive number.")
        _check_family(self.family)
        if self.training and self.batch < 2:
            raise InputError("A training step needs a batch of at least 2: batch normalisation learns from several.")


def _check_top1(share: float | None) -> None:
    if share is not None and (not isinstance(share, int | float) or not 1 <= share <= 100):
        raise InputError(f"min_top1={share!r} was given; expected per cent between 1 and 100, such as 75.")


def _check_family(family: str | None) -> None:
    families = {row.family for row in catalogue().values()}
    if family is not None and family not in families:
        raise UnknownNameError("family", str(family), families)


def comparable(rows: Iterable[Published], family: str | None = None) -> str:
    """The data set on which accuracies are compared: ImageNet, or that of the family picked."""
    return next((row.dataset for row in rows if row.family == family), IMAGENET)


def find(**words: Any) -> list[Published]:
    """The networks within the bounds; `words` are those of `Wanted`. Builds no network.

    A bound on top-1 leaves out networks without a published figure, and those judged on another data set. Raises
    `InputError` for a bad bound, and where nothing fits: it says which bound is how far off.

    >>> [row.name for row in find(max_params="5M", min_top1=71, sort="macs")]
    ['mobilenet_v2']
    """
    if unknown := sorted(words.keys() - {f.name for f in fields(Wanted)}):
        raise UnknownNameError("bound", unknown[0], [f.name for f in fields(Wanted)])
    wanted = Wanted(**words)
    _check_family(wanted.family)
    rows = [row for row in catalogue().values() if wanted.family in (None, row.family)]
    dataset = comparable(rows, wanted.family)
    bounds = wanted.bounds(dataset)
    found = [row for row in rows if all(bound.lets(row) for bound in bounds)]
    if not found:
        raise InputError(_nothing(rows, bounds, dataset))
    return found if wanted.sort is None else sorted(found, key=ORDERS[wanted.sort])


def _nothing(rows: list[Published], bounds: list[Bound], dataset: str) -> str:
    """Which bound excludes how many, and what comes nearest to it."""
    said = [
        f"{bound.word} excludes {sum(not bound.lets(row) for row in rows)} of them ({_nearest(rows, bound, dataset)})"
        for bound in bounds
    ]
    return f"None of {len(rows)} networks fits: {'; '.join(said)}. Loosen one of the bounds."


def _nearest(rows: list[Published], bound: Bound, dataset: str) -> str:
    if bound.column != "top1":
        least = min(rows, key=ORDERS[bound.column])
        return f"the smallest is {least.name} with {getattr(least, bound.column):,}"
    judged = [row for row in rows if row.dataset == dataset and row.top1 is not None]
    if not judged:
        return f"nothing is published of them on {dataset}"
    best = max(judged, key=lambda row: row.top1 or 0)
    return f"the best on {dataset} is {best.name} with {best.top1:g}"
