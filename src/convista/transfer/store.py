"""Features on disk: a row of fp16 numbers for each picture and view, checked before it is believed.

A store's folder is named after everything that decides its numbers (weights, layer, what the network sees of a
picture), a row after the content of the picture's file. So a changed file, weight or option finds nothing and is
computed anew, and nothing else is.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convista.data.rows import LIMIT, RowFile

__all__ = ["FORMAT", "FeatureStore", "fingerprint", "store_key"]

FORMAT = 3  # changes whenever the same words would give other numbers
# What a module has noted that leaves the features before its classifier alone.
ASIDE = {"checkpointing", "first_row", "num_classes", "preprocessing", "spec", "training", "weights"}
Numbers = NDArray[np.float16]


class FeatureStore:
    """Rows of `shape` under `folder`/`key`. Raises `OSError` where the folder cannot be written.

    Any number of processes may share it: one writes at a time, and what one has written the others find.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...]):
        self.shape = shape
        self.file = RowFile(folder / key, 2 * math.prod(shape))

    def names(self) -> list[str]:
        """All whose rows are there as they were written."""
        listed = list(self.file.entries)
        lacking = set(self.missing(listed))
        return [key for key in listed if key not in lacking]

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those that are not there, or whose rows are not what was written."""
        asked = list(keys)
        sound = {asked[place] for place, _ in self._sound(asked)}
        return [key for key in asked if key not in sound]

    def read(self, keys: Sequence[str]) -> tuple[Numbers, NDArray[np.bool_]]:
        """The numbers of these keys (n, *shape), and which of them are there as they were written (n,)."""
        values, there = np.zeros((len(keys), math.prod(self.shape)), np.float16), np.zeros(len(keys), bool)
        for place, row in self._sound(keys):
            values[place], there[place] = row.view(np.float16), True
        return values.reshape(-1, *self.shape), there

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

    def _sound(self, keys: Sequence[str]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Places in `keys`, and rows whose checksum is right; from one state of the file, which others may replace."""
        with self.file.lock:
            self.file.refresh()
            self.file.used()
            rows, entries = self.file.mapped(), self.file.entries
            for place, key in enumerate(keys):
                if key in entries:
                    row, (checksum, *_) = entries[key]
                    if _checksum(rows[row].tobytes()) == checksum:
                        yield place, rows[row]


def store_key(**decides: Any) -> str:
    """The name of a store's folder, from plain data that decides its numbers.

    >>> store_key(layer="head", weights="ab") == store_key(weights="ab", layer="head") != store_key(weights="ac")
    True
    """
    text = json.dumps({"format": FORMAT} | decides, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def fingerprint(net: nn.Module, without: nn.Module | None = None) -> str:
    """A digest of all layers but one: settings, weights, buffers, and of somebody else's layers the code."""
    digest, left_out = hashlib.blake2b(digest_size=16), ""
    for name, module in net.named_modules():
        if module is without:
            left_out = f"{name}."
        else:
            kind: Any = type(module)
            told = (name, kind.__name__, module.extra_repr(), *_settings(module), _source(kind))
            digest.update(" ".join(told).encode())
    for name, tensor in sorted(net.state_dict().items()):
        if left_out and name.startswith(left_out):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _settings(module: nn.Module) -> Iterator[str]:
    """A module's plain attributes; `extra_repr` need not tell of all."""
    for name, value in sorted(vars(module).items()):
        if not name.startswith("_") and name not in ASIDE and _plain(value):
            yield f"{name}={value!r}"


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str) or is_dataclass(value)


@cache
def _source(kind: Any) -> str:
    """The text of somebody's own class, whose `forward` may change while its weights do not."""
    if kind.__module__.split(".")[0] in ("torch", "convista"):
        return ""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # defined where no file is
        return ""


def _checksum(row: bytes) -> str:
    return f"{zlib.crc32(row):08x}"
