"""The features of a folder of pictures as a table: in memory, as `.npz`, as Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convista.data import (
    Entry,
    Source,
    inspect,
    list_pictures,
    open_cache,
    open_source,
    pictures_of,
    read_policy,
    user_cache,
)
from convista.devices import pick_device
from convista.errors import DataError, InputError
from convista.files import check_parent, make_folder, write_atomically
from convista.recipe import FeatureRecipe
from convista.records import BadFile
from convista.tasks.preparing import fast_precision
from convista.training import Console
from convista.transfer.extract import Progress, Views, features_of
from convista.transfer.pretrained import Pretrained
from convista.transfer.trunk import Trunk

__all__ = ["KEPT", "FeatureTable", "everything", "feature_table", "table_of", "written"]

KEPT = "features"  # where in the user's cache features lie
KINDS = (".npz", ".parquet")


@dataclass(frozen=True)
class FeatureTable:
    """`features` (n, views, …) in fp16 of the pictures at `paths`, with their `labels` ("" where no folder says one).

    `computed` rows are new, `reused` ones were kept; files in `bad` are no pictures.
    """

    model: str
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    features: NDArray[np.float16]
    computed: int
    reused: int
    seconds: float
    bad: tuple[BadFile, ...] = ()

    def __str__(self) -> str:
        views, shape = self.features.shape[1], "x".join(map(str, self.features.shape[2:]))
        looks = f", {views} views of each" if views > 1 else ""
        return (
            f"{len(self.paths):,} pictures by {self.model}: {shape} numbers each{looks}; {self.computed:,} computed, "
            f"{self.reused:,} found, {self.seconds:.1f} s"
        )


def feature_table(base: Pretrained, data: str, asked: FeatureRecipe, console: Console) -> FeatureTable:
    """The features of every usable picture in `data`, whether folders name classes or not.

    Raises `DataError` where there is no usable picture, `UnknownNameError` for a layer that is not there.
    """
    device, source, policy = pick_device(asked.device), open_source(data), read_policy(asked.augment)
    precision = fast_precision(device) if asked.precision == "auto" else asked.precision
    trunk = Trunk(base.net, base.view, device, asked.layer or "", asked.maps, precision)
    entries, bad = everything(source)
    side, channels = base.view.stored, base.view.channels
    cache = open_cache((user_cache(),), side, channels)
    found, damaged, _ = inspect(source, entries, side, channels, cache, console.reading)
    if not found:
        raise DataError(f"There is no usable picture in '{source.name}' ({len(damaged) + len(bad)} files are none).")
    labels = tuple(sorted({picture.label for picture in found}))
    pictures = pictures_of(source, cache, (side, side, channels), found, labels)
    progress: Progress = console.reading
    made = features_of(trunk, pictures, Views(asked.views, policy, asked.seed), user_cache() / KEPT, progress)
    usable = [Entry(picture.path, picture.label, None) for picture in found]
    return table_of(base.model, usable, made.values, made.computed, made.seconds, (*bad, *damaged))


def table_of(
    model: str,
    usable: Sequence[Entry],
    values: NDArray[np.float16],
    computed: int,
    seconds: float,
    bad: Sequence[BadFile],
) -> FeatureTable:
    """The table of these pictures with their `values` (n, views, …), of which so many rows were `computed`."""
    paths, labels = tuple(entry.path for entry in usable), tuple(entry.label for entry in usable)
    reused = values.shape[0] * values.shape[1] - computed
    return FeatureTable(model, paths, labels, values, computed, reused, seconds, tuple(bad))


def written(table: FeatureTable, out: Path) -> Path:
    """Writes a table into `out`, a file that ends in .npz or .parquet, or `features.npz` in a folder."""
    file = out if out.suffix in KINDS else out / "features.npz"
    if file is not out:
        make_folder(out)
    check_parent(file)
    write_atomically(file, _parquet(table) if file.suffix == ".parquet" else _npz(table))
    return file


def _npz(table: FeatureTable) -> bytes:
    buffer = io.BytesIO()
    values = table.features[:, 0] if table.features.shape[1] == 1 else table.features
    np.savez(buffer, features=values, labels=np.array(table.labels), paths=np.array(table.paths))
    return buffer.getvalue()


def _parquet(table: FeatureTable) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise InputError("A .parquet file needs pyarrow: pip install 'convista[scale]', or write .npz.") from None
    buffer = io.BytesIO()
    flat = table.features.reshape(len(table.paths), -1).astype(np.float32)
    columns = {"path": list(table.paths), "label": list(table.labels), "features": list(flat)}
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def everything(source: Source) -> tuple[list[Entry], list[BadFile]]:
    """All files, with their classes where folders name some."""
    try:
        return list_pictures(source, needs_train=False)
    except DataError:
        files = source.files()
        if not files:
            raise
        return [Entry(path, "", None) for path in files], []
