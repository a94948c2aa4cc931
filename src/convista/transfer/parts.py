"""The features of a collection, computed in parts by other processes: a part may be done twice, a row is kept once.

Whoever gets a part reads and decodes its pictures, computes the rows that are not kept, and sends them back. Only the
process that asked writes, so that no disk need be shared. A row is named by the content of its picture and the number
of its view: one that comes again is there already.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from convista.data import (
    BadPictureError,
    Entry,
    Picture,
    Pictures,
    Source,
    UnreadableError,
    decode,
    digest_of,
    open_source,
    quiet_pillow,
)
from convista.devices import kept_memory, pick_device
from convista.errors import DataError
from convista.records import View
from convista.transfer.extract import Place, Views, chunks, computed, row_key
from convista.transfer.trunk import Trunk

__all__ = ["Errand", "Part", "Slice", "packed", "work"]


@dataclass(frozen=True)
class Errand:
    """What is the same for all slices: the network, how it looks, and the rows that are there, as `packed` has them."""

    net: nn.Module
    view: View
    views: Views
    layer: str
    maps: bool
    precision: str
    device: str
    kept: NDArray[np.bytes_]

    def trunk(self) -> Trunk:
        """The network on this process's device."""
        return Trunk(self.net, self.view, pick_device(self.device), self.layer, self.maps, self.precision)

    def lacking(self, digest: str) -> list[int]:
        """The views of a picture that are not kept."""
        if not len(self.kept):
            return list(range(self.views.count))
        keys = np.array([row_key(digest, view) for view in range(self.views.count)], self.kept.dtype)
        found = self.kept[np.minimum(self.kept.searchsorted(keys), len(self.kept) - 1)]
        return [int(view) for view in np.flatnonzero(found != keys)]


@dataclass(frozen=True)
class Slice:
    """Some of the pictures: their `numbers` in the whole, and where they lie, or the data's name to open it by."""

    numbers: tuple[int, ...]
    entries: tuple[Entry, ...]
    source: Source | str
    anew: bool = False  # rows that are said to be kept are computed, too


@dataclass(frozen=True)
class Part:
    """What became of a slice: digests and reasons of bad files by number, rows and their places.

    `refused` says why nothing could be done at all.
    """

    digests: dict[int, str] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    values: NDArray[np.float16] = field(default_factory=lambda: np.empty(0, np.float16))
    refused: str = ""


def packed(keys: Sequence[str], views: int) -> NDArray[np.bytes_]:
    """Names of rows, sorted, those of higher views left out: an array that many processes can share.

    >>> packed(["b" * 32 + "/0", "a" * 32 + "/0", "a" * 32 + "/12"], 2).size
    2
    """
    length = len(row_key("0" * 32, views - 1))
    wanted = [key for key in keys if int(key.rpartition("/")[2]) < views]
    return np.sort(np.array(wanted, f"S{length}"))


def work(errand: Errand, trunk: Trunk, part: Slice) -> Part:
    """A slice, in whatever process: files are read and decoded, and the rows computed that are not kept."""
    try:
        source = open_source(part.source) if isinstance(part.source, str) else part.source
        with quiet_pillow(), ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            looks = list(pool.map(partial(_look, errand, source, part.anew), part.entries))
    except DataError as error:
        return Part(refused=str(error))
    seen = [(number, look) for number, look in zip(part.numbers, looks, strict=True) if look.lacking]
    places = [
        (row, view) for view in range(errand.views.count) for row, (_, look) in enumerate(seen) if view in look.lacking
    ]
    pictures = _pictures(source, errand.view, [look for _, look in seen])
    with kept_memory(trunk.device):
        rows = [computed(trunk, pictures, chunk, errand.views) for chunk in chunks(places)]
    found = list(zip(part.numbers, looks, strict=True))
    return Part(
        {number: look.digest for number, look in found if not look.reason},
        {number: look.reason for number, look in found if look.reason},
        tuple((seen[row][0], view) for row, view in places),
        np.concatenate(rows) if rows else np.empty(0, np.float16),
    )


@dataclass(frozen=True)
class _Look:
    """What is in a file: pixels where rows are lacking, a reason where it is no picture."""

    digest: str
    pixels: NDArray[np.uint8]
    lacking: tuple[int, ...] = ()
    reason: str = ""


NOTHING = np.empty(0, np.uint8)


def _look(errand: Errand, source: Source, anew: bool, entry: Entry) -> _Look:
    try:
        data = source.read(entry.path)
        digest = digest_of(data)
        lacking = tuple(range(errand.views.count) if anew else errand.lacking(digest))
        pixels = decode(data, errand.view.stored, errand.view.channels).pixels if lacking else NOTHING
    except (UnreadableError, BadPictureError) as error:
        return _Look("", NOTHING, (), str(error))
    return _Look(digest, pixels, lacking)


def _pictures(source: Source, view: View, looks: Sequence[_Look]) -> Pictures:
    """Decoded pictures in memory."""
    shape = (view.stored, view.stored, view.channels)
    pixels = np.stack([look.pixels for look in looks]) if looks else np.empty((0, *shape), np.uint8)
    pictures = tuple(Picture("", "", None, look.digest) for look in looks)
    return Pictures(source, shape, pictures, np.zeros(len(looks), np.int64), pixels, np.arange(len(looks)))
