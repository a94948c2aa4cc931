"""Parts that other processes have computed become one table: the same as that of `feature_table`, in the same order."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import numpy as np

from convista.data import Entry, Source, lasting_address, open_source, read_policy, user_cache
from convista.errors import DataError
from convista.feature_recipes import FeatureRecipe
from convista.records import BadFile
from convista.training import Console
from convista.transfer.extract import BATCH, Stores, Views
from convista.transfer.parts import Errand, Part, Slice, packed
from convista.transfer.pretrained import Pretrained
from convista.transfer.table import KEPT, FeatureTable, everything, table_of

__all__ = ["Arrivals", "Elsewhere", "gathered_table"]

LARGEST = 256  # pictures in a slice
BYTES = 64 << 20  # of features in a slice, about
EACH = 4  # slices for every worker, so that the last ones end together


Arrivals = Generator[tuple[Slice, Part] | None, None, None]


class Elsewhere(Protocol):
    """Other processes, `workers` of them at a time, on devices of one kind."""

    workers: int
    device: str

    def precision(self) -> str:
        """The fast one on their device."""

    def run(self, errand: Errand, todo: deque[Slice]) -> Arrivals:
        """Has `parts.work` done on slices, in any order, until `todo` is empty, which may grow meanwhile.

        None, now and then, where nothing has come.
        """


def gathered_table(
    base: Pretrained, data: str, asked: FeatureRecipe, elsewhere: Elsewhere, console: Console
) -> FeatureTable:
    """The features of every usable picture in `data`, computed elsewhere; rows are kept here as they come.

    Raises `DataError` where there is no usable picture, or where a worker cannot read the data at all.
    """
    start, source, policy = time.perf_counter(), open_source(data), read_policy(asked.augment)
    entries, strays = everything(source)
    precision = elsewhere.precision() if asked.precision == "auto" else asked.precision
    views, words = Views(asked.views, policy, asked.seed), (asked.layer or "", asked.maps, precision)
    errand = Errand(base.net, base.view, views, *words, "cpu", packed([], asked.views))
    whole = _Whole(errand, entries, elsewhere.device)
    errand = replace(errand, device=elsewhere.device, kept=packed(whole.stores.names(), asked.views))
    todo = deque(_slices(data, source, entries, elsewhere.workers, whole.values.nbytes))
    with closing(elsewhere.run(errand, todo)) as arrivals:
        for arrived in arrivals:
            if arrived is not None and not whole.take(arrived[1]):
                todo.append(replace(arrived[0], anew=True))
            console.reading("computing features", len(whole.done), len(entries))
    usable = [number for number in range(len(entries)) if number not in whole.bad]
    bad = [*strays, *(BadFile(entries[number].path, whole.bad[number]) for number in sorted(whole.bad))]
    if not usable:
        raise DataError(f"There is no usable picture in '{source.name}' ({len(bad)} files are none).")
    values = whole.values[usable] if whole.bad else whole.values
    seconds = time.perf_counter() - start
    return table_of(base.model, [entries[number] for number in usable], values, whole.computed, seconds, bad)


def _slices(data: str, source: Source, entries: Sequence[Entry], workers: int, size: int) -> Iterator[Slice]:
    """The pictures in the order in which they lie, shard after shard, so that one slice is in one or two of them."""
    name, order = lasting_address(data), sorted(range(len(entries)), key=lambda number: entries[number].path)
    most = min(LARGEST, len(entries) / (EACH * workers), len(entries) * BYTES / max(1, size))
    step = BATCH * max(1, math.ceil(most / BATCH))
    for start in range(0, len(order), step):
        numbers = tuple(order[start : start + step])
        part = source.part([entries[number].path for number in numbers])
        yield Slice(numbers, tuple(entries[number] for number in numbers), part or name)


class _Whole:
    """All rows by number, from the stores and from the parts; a part that comes again changes nothing."""

    def __init__(self, errand: Errand, entries: Sequence[Entry], device: str):
        trunk, self.views = errand.trunk(), errand.views
        shape = trunk.shape
        self.stores = Stores(trunk, self.views, shape, user_cache() / KEPT, [""] * len(entries), device)
        self.values = np.empty((len(entries), self.views.count, *shape), np.float16)
        self.done: set[int] = set()
        self.bad: dict[int, str] = {}
        self.computed = 0

    def take(self, part: Part) -> bool:
        """Keeps what is new; False where rows are lacking that were kept when the work began."""
        if part.refused:
            raise DataError(part.refused)
        for number, digest in part.digests.items():
            self.stores.digests[number] = digest
            self.bad.pop(number, None)  # what could not be read at first can be now
        self.bad |= part.bad
        wanted = [(number, view) for view in range(self.views.count) for number in part.digests]
        missing = self.stores.fill(self.values, wanted)
        came = {place: row for row, place in enumerate(part.places)}
        new = [place for place in missing if place in came]
        if new:
            self.stores.keep(self.values, new, part.values[[came[place] for place in new]])
        self.computed += len(new)
        if len(new) == len(missing):
            self.done |= part.digests.keys() | part.bad.keys()
        return len(new) == len(missing)
