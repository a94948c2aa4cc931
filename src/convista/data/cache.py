"""Decoded pictures on disk: one row of bytes a picture, found by the content of its file.

A cache folder holds, for each picture shape, `pixels.u8` (rows, memory-mapped) and `index.jsonl` (which content is
in which row). Rows are written before their index lines, so that a process killed in between leaves a row that nobody
points to and the next writer overwrites. One process at a time writes to a shape or takes it away; any number read.
Whatever does not fit together (a file lost, cut short, or of another writer's making) is thrown away, not believed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
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
    """The decoded pictures of one shape `(side, side, channels)` under `folder`, bounded by `limit` bytes.

    Raises `OSError` when the folder cannot be written.
    """

    def __init__(self, folder: Path, side: int, channels: int, limit: int = LIMIT):
        self.shape = (side, side, channels)
        self.row_bytes = side * side * channels
        self.folder, self.limit = folder / f"{side}x{side}x{channels}-{FORMAT}", limit
        self._pixels, self._index = self.folder / "pixels.u8", self.folder / "index.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        self.entries: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._read, self._inode = 0, -1
        with self._lock:
            self._refresh()
            os.utime(self.folder)  # the least recently used shape is the first to be taken away

    def __contains__(self, digest: str) -> bool:
        return digest in self.entries

    def notes(self, digest: str) -> tuple[str, ...]:
        """What had to be done to the picture when it was decoded."""
        return self.entries.get(digest, (-1, ()))[1]

    def add(self, decoded: Sequence[tuple[str, Decoded]]) -> None:
        """Appends pictures, as many as the bound and the disk allow; the rest will be decoded whenever it is needed."""
        with self._lock, suppress(OSError):  # a disk that fills up costs speed, nothing else
            self._refresh()
            fresh = {digest: picture for digest, picture in decoded if digest not in self.entries}
            rows = list(fresh.items())[: self._room(len(fresh))]
            if not rows:
                return
            with self._pixels.open("r+b" if self._pixels.exists() else "w+b") as pixels:
                pixels.seek(len(self.entries) * self.row_bytes)
                pixels.writelines(picture.pixels.tobytes() for _, picture in rows)
                pixels.flush()
                os.fsync(pixels.fileno())
            with self._index.open("ab") as index:
                index.write(b"".join(json.dumps([digest, *picture.notes]).encode() + b"\n" for digest, picture in rows))
            self._refresh()

    def view(self, digests: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The row of each content (-1 where it is not cached), and all rows: (rows, side, side, channels), mapped.

        The rows stay what they are for as long as they are held, whatever happens to the cache.
        """
        with self._lock:
            self._refresh()
            rows = np.array([self.entries.get(digest, (-1,))[0] for digest in digests], dtype=np.int64)
            if not self.entries:
                return rows, np.empty((0, *self.shape), np.uint8)
            pixels = np.memmap(self._pixels, np.uint8, "r", shape=(len(self.entries), *self.shape))
            return rows, np.asarray(pixels)

    def _refresh(self) -> None:
        """Reads what was appended since the last time; starts afresh where the files do not fit together."""
        self.folder.mkdir(exist_ok=True)
        try:
            if self._index.exists():
                self._read_index()
            else:
                self._forget()
        except (ValueError, TypeError, OSError):
            self._forget()
            self._index.unlink(missing_ok=True)
            self._pixels.unlink(missing_ok=True)

    def _read_index(self) -> None:
        with self._index.open("r+b") as index:
            status = os.fstat(index.fileno())
            if status.st_ino != self._inode or status.st_size < self._read:
                self._forget()
                self._inode = status.st_ino
            index.seek(self._read)
            text = index.read()
            whole = text[: text.rfind(b"\n") + 1]
            if len(whole) < len(text):  # a line that was cut off
                index.truncate(self._read + len(whole))
        for line in whole.splitlines():
            digest, *notes = json.loads(line)
            self.entries[digest] = (len(self.entries), tuple(notes))
        self._read += len(whole)
        if self.entries and self._pixels.stat().st_size < len(self.entries) * self.row_bytes:
            raise ValueError("fewer rows than the index names")

    def _forget(self) -> None:
        self.entries = {}
        self._read, self._inode = 0, -1

    def _room(self, wanted: int) -> int:
        """How many of `wanted` rows may be added; other shapes, least recently used first, make way for them."""
        others = sorted((f for f in self.folder.parent.iterdir() if f.is_dir() and f != self.folder), key=_used)
        held = {folder: _size(folder) for folder in others}
        mine = len(self.entries) * self.row_bytes
        while others and mine + sum(held.values()) + wanted * self.row_bytes > self.limit:
            oldest = others.pop(0)
            with suppress(Timeout), _lock(oldest).acquire(blocking=False):
                shutil.rmtree(oldest, ignore_errors=True)
                del held[oldest]
        free = shutil.disk_usage(self.folder).free - SPARE
        return max(0, min(wanted, (self.limit - mine - sum(held.values())) // self.row_bytes, free // self.row_bytes))


def _lock(folder: Path) -> FileLock:
    """One writer for each shape; the lock lies beside the folder, so that it outlives it."""
    return FileLock(folder.with_name(folder.name + ".lock"))


def _size(folder: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0


def _used(folder: Path) -> float:
    with suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return 0.0
