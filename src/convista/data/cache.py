"""Decoded pictures on disk: one row of bytes a picture, found by the content of its file.

A cache folder holds, for each picture shape, `pixels.u8` (rows, memory-mapped) and `index.jsonl` (which content is
in which row). Rows are written before their index line, so that a process killed in between leaves a row that nobody
points to and the next writer overwrites. One process writes at a time; any number read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from convista.data.decode import Decoded

__all__ = ["FORMAT", "PixelCache", "user_cache"]

FORMAT = "v1"  # changes whenever the same bytes would decode to other pixels
LIMIT = 20 << 30  # bytes in a cache folder, all shapes together
SPARE = 1 << 30  # bytes of the disk that are left alone


def user_cache() -> Path:
    """The folder for caches of this user (`$XDG_CACHE_HOME/convista`, else `~/.cache/convista`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convista"


class PixelCache:
    """The decoded pictures of one shape `(side, side, channels)` under `folder`, bounded by `limit` bytes."""

    def __init__(self, folder: Path, side: int, channels: int, limit: int = LIMIT):
        self.shape = (side, side, channels)
        self.row_bytes = side * side * channels
        self.folder, self.limit = folder / f"{side}x{side}x{channels}-{FORMAT}", limit
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pixels, self._index = self.folder / "pixels.u8", self.folder / "index.jsonl"
        self._lock = FileLock(self.folder / "lock")
        self.entries: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._indexed_bytes = 0
        with self._lock:
            self._read_index()
            os.utime(self.folder)  # the least recently used shape is the first to be evicted

    def __contains__(self, digest: str) -> bool:
        return digest in self.entries

    def notes(self, digest: str) -> tuple[str, ...]:
        """What had to be done to the picture when it was decoded."""
        return self.entries[digest][1]

    def add(self, decoded: Sequence[tuple[str, Decoded]]) -> None:
        """Appends pictures, as many as the bound and the disk allow; the rest will be decoded whenever it is needed."""
        with self._lock, suppress(OSError):  # a disk that fills up costs speed, nothing else
            self._read_index()
            fresh = {digest: picture for digest, picture in decoded if digest not in self.entries}
            room = self._room(len(fresh))
            rows = list(fresh.items())[:room]
            if not rows:
                return
            first = len(self.entries)
            with self._pixels.open("r+b" if self._pixels.exists() else "w+b") as pixels:
                pixels.seek(first * self.row_bytes)
                pixels.writelines(picture.pixels.tobytes() for _, picture in rows)
                pixels.flush()
                os.fsync(pixels.fileno())
            with self._index.open("ab") as index:
                for digest, picture in rows:
                    index.write(json.dumps([digest, *picture.notes]).encode() + b"\n")
            self._read_index()

    def rows(self, digests: Sequence[str]) -> NDArray[np.int64]:
        """The row of each content, -1 where it is not cached."""
        return np.array([self.entries.get(digest, (-1,))[0] for digest in digests], dtype=np.int64)

    def pixels(self) -> NDArray[np.uint8]:
        """All rows, memory-mapped: (rows, side, side, channels)."""
        if not self.entries:
            return np.empty((0, *self.shape), np.uint8)
        return np.asarray(np.memmap(self._pixels, np.uint8, "r", shape=(len(self.entries), *self.shape)))

    def _read_index(self) -> None:
        """Reads what was appended since the last time, dropping a last line that was cut off."""
        if not self._index.exists():
            self.entries, self._indexed_bytes = {}, 0
            return
        with self._index.open("r+b") as index:
            index.seek(self._indexed_bytes)
            text = index.read()
            whole = text[: text.rfind(b"\n") + 1]
            if len(whole) < len(text):
                index.truncate(self._indexed_bytes + len(whole))
        for line in whole.splitlines():
            digest, *notes = json.loads(line)
            self.entries[digest] = (len(self.entries), tuple(notes))
        self._indexed_bytes += len(whole)

    def _room(self, wanted: int) -> int:
        """How many of `wanted` rows may be added; other shapes, least recently used first, make way for them."""
        others = sorted((f for f in self.folder.parent.iterdir() if f.is_dir() and f != self.folder), key=_used)
        held = {folder: sum(f.stat().st_size for f in folder.iterdir() if f.is_file()) for folder in others}
        mine = len(self.entries) * self.row_bytes
        while others and mine + sum(held.values()) + wanted * self.row_bytes > self.limit:
            oldest = others.pop(0)
            shutil.rmtree(oldest, ignore_errors=True)
            del held[oldest]
        free = shutil.disk_usage(self.folder).free - SPARE
        return max(0, min(wanted, (self.limit - mine - sum(held.values())) // self.row_bytes, free // self.row_bytes))


def _used(folder: Path) -> float:
    return folder.stat().st_mtime
