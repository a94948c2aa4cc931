"""Decoded pictures on disk: one row of bytes a picture, found by the content of its file (see `rows`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convista.data.decode import Decoded
from convista.data.rows import LIMIT, RowFile

__all__ = ["FORMAT", "PixelCache", "user_cache"]

FORMAT = "v2"  # changes whenever the same bytes would decode to other pixels


def user_cache() -> Path:
    """The folder for caches of this user (`$XDG_CACHE_HOME/convista`, else `~/.cache/convista`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convista"


class PixelCache:
    """The decoded pictures of one shape `(side, side, channels)` under `folder`, bounded by `limit` bytes.

    Raises `OSError` when the folder cannot be written.
    """

    def __init__(self, folder: Path, side: int, channels: int, limit: int = LIMIT):
        self.shape, self.limit = (side, side, channels), limit
        self.folder = folder / f"{side}x{side}x{channels}-{FORMAT}"
        self.file = RowFile(self.folder, side * side * channels)

    def __contains__(self, digest: str) -> bool:
        return digest in self.file.entries

    def notes(self, digest: str) -> tuple[str, ...]:
        """What had to be done to the picture when it was decoded."""
        return self.file.entries.get(digest, (-1, ()))[1]

    def add(self, decoded: Sequence[tuple[str, Decoded]]) -> None:
        """Appends pictures, as many as the bound and the disk allow; the rest will be decoded whenever it is needed."""
        with self.file.lock, suppress(OSError):  # a disk that fills up costs speed, nothing else
            self.file.refresh()
            fresh = {digest: picture for digest, picture in decoded if digest not in self}
            rows = list(fresh.items())[: self.file.room(len(fresh), self.limit)]
            if rows:
                self.file.append([(digest, picture.pixels.tobytes(), picture.notes) for digest, picture in rows])

    def view(self, digests: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The row of each content (-1 where it is not cached), and all rows: (rows, side, side, channels), mapped.

        The rows stay what they are for as long as they are held, whatever happens to the cache.
        """
        with self.file.lock:
            self.file.refresh()
            self.file.used()
            rows = np.array([self.file.entries.get(digest, (-1,))[0] for digest in digests], dtype=np.int64)
            return rows, self.file.mapped().reshape(-1, *self.shape)
