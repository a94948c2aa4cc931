"""Features on disk: a row of fp16 numbers for each picture and view, checked before it is believed.

A store's folder is named after everything that decides its numbers (weights, layer, what the network sees of a
picture), a row after the content of the picture's file. So a changed file, weight or option finds nothing and is
computed anew, and nothing else is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from convista.data.rows import LIMIT, RowFile

__all__ = ["FORMAT", "FeatureStore", "fingerprint", "store_key"]

FORMAT = 2  # changes whenever the same words would give other numbers
Numbers = NDArray[np.float16]


class FeatureStore:
    """Rows of `shape` under `folder`/`key`. Raises `OSError` where the folder cannot be written.

    Any number of processes may share it: one writes at a time, and what one has written the others find.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...]):
        self.shape = shape
        self.file = RowFile(folder / key, 2 * math.prod(shape))
        self.sound: set[tuple[str, int]] = set()  # rows whose checksum was seen to be right

    def names(self) -> list[str]:
        """All whose rows are there as they were written."""
        listed = list(self.file.entries)
        lacking = set(self.missing(listed))
        return [key for key in listed if key not in lacking]

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those that are not there, or whose rows are not what was written."""
        with self.file.lock:
            self.file.refresh()
            rows, entries = self.file.mapped(), self.file.entries
        return [key for key in keys if key not in entries or not self._sound(key, entries[key], rows)]

    def add(self, keys: Sequence[str], values: Numbers) -> None:
        """Appends the numbers (n, *shape) of these keys. Raises `OSError` where disk or `LIMIT` leave no room for them.

        Stores that were not used for longest make way.
        """
        flat = np.ascontiguousarray(values, np.float16).reshape(len(keys), -1)
        rows = [(key, row.tobytes()) for key, row in zip(keys, flat, strict=True)]
        with self.file.lock:
            self.file.refresh()
            room = self.file.room(len(rows), LIMIT)
            self.file.append([(key, row, [_checksum(row)]) for key, row in rows[:room]])
        if room < len(rows):
            raise OSError(errno.ENOSPC, "no room for more features", str(self.file.folder))

    def read(self, keys: Sequence[str]) -> Numbers:
        """The numbers of these keys, none of which is missing: (n, *shape)."""
        rows = self.file.mapped().view(np.float16)
        return np.asarray(rows[[self.file.entries[key][0] for key in keys]]).reshape(-1, *self.shape)

    def _sound(self, key: str, entry: tuple[int, tuple[str, ...]], rows: NDArray[np.uint8]) -> bool:
        row, (checksum, *_) = entry
        if (key, row) not in self.sound and _checksum(rows[row].tobytes()) == checksum:
            self.sound.add((key, row))
        return (key, row) in self.sound


def store_key(**decides: Any) -> str:
    """The name of a store's folder, from plain data that decides its numbers.

    >>> store_key(layer="head", weights="ab") == store_key(weights="ab", layer="head") != store_key(weights="ac")
    True
    """
    text = json.dumps({"format": FORMAT} | decides, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def fingerprint(net: nn.Module, without: nn.Module | None = None) -> str:
    """A digest of all layers but one with their settings, weights and buffers."""
    digest, left_out = hashlib.blake2b(digest_size=16), ""
    for name, module in net.named_modules():
        if module is without:
            left_out = f"{name}."
        else:
            digest.update(f"{name} {type(module).__name__} {module.extra_repr()}".encode())
    for name, tensor in sorted(net.state_dict().items()):
        if left_out and name.startswith(left_out):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def _checksum(row: bytes) -> str:
    return f"{zlib.crc32(row):08x}"
