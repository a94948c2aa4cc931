"""A file of equal rows of bytes and an index of what is in which row: the ground of every cache here.

A folder holds `rows.bin` (memory-mapped) and `index.jsonl`, a line for each row: its key and notes. Rows are written
before their index lines, so that a process killed in between leaves a row that nobody points to and the next writer
overwrites. One process at a time writes or takes the folder away; any number read. Whatever does not fit together (a
file lost, or of another writer's making) is thrown away, not believed; of a file cut short what is whole is left.
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

__all__ = ["LIMIT", "RowFile", "lock_of"]

LIMIT = 20 << 30  # bytes of all files of rows in a folder together
SPARE = 1 << 30  # bytes of the disk that are left alone


class RowFile:
    """Rows of `row_bytes` bytes each in `folder`, which is made. Raises `OSError` where it cannot be written.

    `entries` says for each key its row and its notes; a key that comes again is in its last row.
    """

    def __init__(self, folder: Path, row_bytes: int):
        self.folder, self.row_bytes = folder, row_bytes
        self._rows, self._index = folder / "rows.bin", folder / "index.jsonl"
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.lock = lock_of(folder)
        self.entries: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.count = 0  # rows in the file
        self._read, self._inode = 0, -1
        with self.lock:
            self.refresh()
            self.used()

    def used(self) -> None:
        """Notes that it was used just now."""
        with suppress(OSError):
            os.utime(self.folder)

    def append(self, rows: Sequence[tuple[str, bytes, Sequence[str]]]) -> None:
        """Adds keys with their rows and notes. The caller holds the lock. Raises `OSError` where the disk is full."""
        self.refresh()
        with self._rows.open("r+b" if self._rows.exists() else "w+b") as file:
            file.seek(self.count * self.row_bytes)
            file.writelines(row for _, row, _ in rows)
            file.flush()
            os.fsync(file.fileno())
        with self._index.open("ab") as index:
            index.write(b"".join(json.dumps([key, *notes]).encode() + b"\n" for key, _, notes in rows))
        self.refresh()
        self.used()

    def room(self, wanted: int, limit: int) -> int:
        """How many of `wanted` rows may be added, so that all rows in the folder above take `limit` bytes.

        Others, least recently used first, make way for them, and nothing else there does. The caller holds the lock.
        """
        others = sorted((f.parent for f in self.folder.parent.glob("*/index.jsonl") if f != self._index), key=_used)
        held = {folder: _size(folder) for folder in others}
        mine = self.count * self.row_bytes
        while others and mine + sum(held.values()) + wanted * self.row_bytes > limit:
            oldest = others.pop(0)
            with suppress(Timeout), lock_of(oldest).acquire(blocking=False):
                shutil.rmtree(oldest, ignore_errors=True)
                del held[oldest]
        free = min(limit - mine - sum(held.values()), shutil.disk_usage(self.folder).free - SPARE)
        return max(0, min(wanted, free // self.row_bytes))

    def mapped(self) -> NDArray[np.uint8]:
        """All rows, (count, row_bytes), memory-mapped; they stay what they are while they are held."""
        if not self.count:
            return np.empty((0, self.row_bytes), np.uint8)
        return np.asarray(np.memmap(self._rows, np.uint8, "r", shape=(self.count, self.row_bytes)))

    def refresh(self) -> None:
        """Reads what was appended since the last time; starts afresh where the files do not fit together.

        Raises `OSError` where they cannot be read just now, which says nothing of what is in them.
        """
        self.folder.mkdir(exist_ok=True)
        try:
            if self._index.exists():
                self._read_index()
            else:
                self._forget()
        except (ValueError, TypeError, FileNotFoundError):
            self._forget()
            self._index.unlink(missing_ok=True)
            self._rows.unlink(missing_ok=True)

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
            key, *notes = json.loads(line)
            self.entries[key] = (self.count, tuple(notes))
            self.count += 1
        self._read += len(whole)
        whole_rows = self._rows.stat().st_size // self.row_bytes if self.count else 0
        if whole_rows < self.count:
            self._cut(whole_rows)

    def _cut(self, count: int) -> None:
        """Leaves so many lines in the index: in a new file, so that other processes read it from its beginning."""
        beside = self._index.with_name("index.new")
        beside.write_bytes(b"".join(self._index.read_bytes().splitlines(keepends=True)[:count]))
        beside.replace(self._index)
        self._forget()
        self._read_index()

    def _forget(self) -> None:
        self.entries, self.count = {}, 0
        self._read, self._inode = 0, -1


def lock_of(folder: Path) -> FileLock:
    """One writer for each folder; the lock lies beside it, so that it outlives it."""
    return FileLock(folder.with_name(folder.name + ".lock"))


def _size(folder: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in folder.iterdir() if file.name != "index.jsonl")
    return 0


def _used(folder: Path) -> float:
    with suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return 0.0
