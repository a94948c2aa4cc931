"""`prepare`: one pass over the files that finds the bad ones, fills the cache, and deals out the splits."""

from __future__ import annotations

import hashlib
import os
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convista.data.cache import PixelCache
from convista.data.decode import BadPictureError, Decoded, decode, picture_size
from convista.data.folder import Entry, list_pictures
from convista.data.source import Source, UnreadableError
from convista.data.split import SPLITS, Picture, assign_splits, drop_conflicts
from convista.errors import DataError
from convista.records import BadFile

__all__ = [
    "Pictures",
    "Prepared",
    "complete",
    "digest_of",
    "inspect",
    "open_cache",
    "pictures_of",
    "prepare",
    "quiet_pillow",
    "reasons",
    "stored_side",
    "usual_side",
]

SAMPLE = 200  # pictures whose headers are read to learn the usual size
MARGIN = 8 / 7  # stored side / network's side for photographs: 256 for 224
CHUNK = 256  # pictures decoded between two writes to the cache

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pictures:
    """Pictures as (side, side, channels) bytes, and their classes; `rows`: where each is in `cached` (-1: nowhere)."""

    source: Source
    shape: tuple[int, int, int]
    pictures: tuple[Picture, ...]
    targets: NDArray[np.int64]
    cached: NDArray[np.uint8]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def digests(self) -> list[str]:
        """The hash of each picture's content."""
        return [picture.digest for picture in self.pictures]

    @property
    def contents(self) -> NDArray[np.int64]:
        """A number for each picture (n,), the same for copies."""
        return np.unique(np.array(self.digests), return_inverse=True)[1].astype(np.int64)

    def only(self, indices: NDArray[np.int64]) -> Pictures:
        """Some of them, in this order."""
        chosen = tuple(self.pictures[i] for i in indices)
        return replace(self, pictures=chosen, targets=self.targets[indices], rows=self.rows[indices])

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One picture: a view into the cache where it is cached, decoded afresh where it is not."""
        row = self.rows[index]
        if row >= 0:
            picture: NDArray[np.uint8] = self.cached[row]
            return picture
        picture_file = self.pictures[index]
        try:
            data = self.source.read(picture_file.path)
        except UnreadableError as error:
            raise DataError(f"{picture_file.path} was there when the run began; now: {error}. Put it back.") from None
        if digest_of(data) != picture_file.digest:
            raise DataError(f"{picture_file.path} has changed since the run began. Put it back, or start a new run.")
        return decode(data, self.shape[0], self.shape[2]).pixels

    def many(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Several pictures; those that are not cached are decoded side by side."""
        if (self.rows[indices] >= 0).all():
            return [self[int(i)] for i in indices]
        with quiet_pillow(), ThreadPoolExecutor(_workers()) as pool:
            return list(pool.map(lambda i: self[int(i)], indices))


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on: its classes, its splits, and what was found on the way."""

    name: str
    labels: tuple[str, ...]
    splits: dict[str, Pictures]
    bad: tuple[BadFile, ...]
    notes: dict[str, int]
    fingerprint: str

    def told(self) -> dict[str, Any]:
        """All but the pixels, as plain data that another process can be told."""
        return vars(self) | {"splits": {name: part.pictures for name, part in self.splits.items()}}

    @classmethod
    def retold(
        cls, told: dict[str, Any], source: Source, cache: PixelCache | None, shape: tuple[int, int, int]
    ) -> Prepared:
        """The same in another process, with the pixels of its own cache or files."""
        splits = {
            name: pictures_of(source, cache, shape, part, told["labels"]) for name, part in told["splits"].items()
        }
        return cls(**told | {"splits": splits})


def complete(told: dict[str, Any], source: Source, side: int, channels: int, cache: PixelCache | None) -> None:
    """Puts into the cache what is not there yet. Raises `DataError` when the files are not those that are told of."""
    pictures = [picture for part in told["splits"].values() for picture in part]
    missing = [picture for picture in pictures if cache is None or picture.digest not in cache]
    entries = [Entry(picture.path, picture.label, picture.split) for picture in missing]
    found, bad, _ = inspect(source, entries, side, channels, cache)
    same = {(picture.path, picture.digest) for picture in found}
    for picture in missing:
        if (picture.path, picture.digest) not in same:
            raise DataError(
                f"{picture.path} is not what the first process has under this name. {reasons(bad)} "
                "Every host needs the same pictures under the same path."
            )


def prepare(
    source: Source,
    side: int,
    channels: int,
    seed: int,
    cache: PixelCache | None,
    progress: Progress | None = None,
    limit: int | None = None,
) -> Prepared:
    """Reads every file once and deals out train, val and test; see `assign_splits` for `seed` and `limit`.

    Raises `DataError` when too little is usable.
    """
    entries, strays = list_pictures(source)
    pictures, bad, notes = inspect(source, entries, side, channels, cache, progress)
    pictures, conflicts = drop_conflicts(pictures)
    gone = {entry.label for entry in entries} - {picture.label for picture in pictures}
    if gone:
        raise DataError(f"Class '{min(gone)}' has no usable picture. {reasons([*bad, *conflicts])}")
    pictures = assign_splits(pictures, seed, limit)
    labels = tuple(sorted({picture.label for picture in pictures}))
    splits = {
        split: pictures_of(source, cache, (side, side, channels), [p for p in pictures if p.split == split], labels)
        for split in SPLITS
    }
    lines = "\n".join(f"{p.digest} {p.label} {p.split}" for split in SPLITS for p in splits[split].pictures)
    fingerprint = digest_of(lines.encode(errors="surrogateescape"))
    return Prepared(source.name, labels, splits, (*strays, *bad, *conflicts), notes, fingerprint)


def pictures_of(
    source: Source,
    cache: PixelCache | None,
    shape: tuple[int, int, int],
    pictures: Sequence[Picture],
    labels: Sequence[str],
) -> Pictures:
    """Pictures with their classes numbered by `labels`, and their rows in the cache looked up."""
    number = {label: i for i, label in enumerate(labels)}
    if cache:
        rows, cached = cache.view([p.digest for p in pictures])
    else:
        rows, cached = np.full(len(pictures), -1, np.int64), np.empty((0, *shape), np.uint8)
    targets = np.array([number[p.label] for p in pictures], dtype=np.int64)
    return Pictures(source, shape, tuple(pictures), targets, cached, rows)


def inspect(
    source: Source,
    entries: Sequence[Entry],
    side: int,
    channels: int,
    cache: PixelCache | None,
    progress: Progress | None = None,
) -> tuple[list[Picture], list[BadFile], dict[str, int]]:
    """Decodes what is not cached yet. Returns the usable pictures, the others with reasons, and counted notes."""
    pictures: list[Picture] = []
    bad: list[BadFile] = []
    notes: Counter[str] = Counter()

    def look(entry: Entry) -> tuple[str, Decoded | None]:
        data = source.read(entry.path)
        digest = digest_of(data)
        known = cache is not None and digest in cache
        return digest, None if known else decode(data, side, channels)

    with quiet_pillow(), ThreadPoolExecutor(_workers()) as pool:
        for chunk in _chunks(entries):
            fresh: list[tuple[str, Decoded]] = []
            for entry, future in [(entry, pool.submit(look, entry)) for entry in chunk]:
                try:
                    digest, decoded = future.result()
                except (UnreadableError, BadPictureError) as error:
                    bad.append(BadFile(entry.path, str(error)))
                    continue
                pictures.append(Picture(entry.path, entry.label, entry.split, digest))
                if decoded is not None:
                    fresh.append((digest, decoded))
                    notes.update(decoded.notes)
                elif cache is not None:
                    notes.update(cache.notes(digest))
            if cache is not None and fresh:
                cache.add(fresh)
            if progress:
                progress("reading pictures", len(pictures) + len(bad), len(entries))
    return pictures, bad, dict(notes)


def stored_side(source: Source, image: int) -> int:
    """The side in pixels at which pictures are kept for a network that takes `image`.

    Photographs keep a margin of 1/7 to crop from; pictures that are hardly larger than the network's input do not.
    """
    large, usual = round(image * MARGIN), usual_side(source)
    return large if usual is not None and usual >= large else image


def usual_side(source: Source) -> int | None:
    """The median of the pictures' short sides in pixels, from the headers of some; None where none can be read."""
    entries, _ = list_pictures(source)
    sides = []
    with quiet_pillow():
        for entry in entries[:: max(1, len(entries) // SAMPLE)]:
            try:
                sides.append(min(picture_size(source.read(entry.path))))
            except (UnreadableError, BadPictureError):
                continue
    return round(statistics.median(sides)) if sides else None


def reasons(bad: Sequence[BadFile]) -> str:
    """The reasons with their counts, most frequent first, as one sentence."""
    counts = Counter(file.reason for file in bad)
    return "Not used: " + "; ".join(f"{n} x {reason}" for reason, n in counts.most_common(5)) + "." if bad else ""


class quiet_pillow(warnings.catch_warnings):  # noqa: N801  # used like a function
    """Pillow's remarks about odd files are silenced: what matters comes back as reasons and notes."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)


def digest_of(data: bytes) -> str:
    """What a picture is known by: a digest of its file."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _chunks(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    rest = iter(entries)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _workers() -> int:
    return min(16, os.cpu_count() or 1)


def open_cache(folders: Sequence[Path], side: int, channels: int) -> PixelCache | None:
    """The cache in the first folder that can be written; None where none can."""
    for folder in folders:
        try:
            return PixelCache(folder, side, channels)
        except OSError:
            continue
    return None
