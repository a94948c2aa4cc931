"""The features of a folder of pictures as a table: in memory, as `.npz`, as Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convista.data import (
    Entry,
    Pictures,
    Source,
    inspect,
    list_pictures,
    open_cache,
    open_source,
    pictures_of,
    read_policy,
    reasons,
    user_cache,
)
from convista.devices import pick_device
from convista.errors import DataError, InputError
from convista.feature_recipes import FeatureRecipe
from convista.files import check_parent, make_folder, write_atomically
from convista.records import BadFile, View
from convista.tasks.preparing import fast_precision
from convista.training import Console
from convista.transfer.adapt import adapted
from convista.transfer.extract import UNKEPT, Progress, Views, features_of
from convista.transfer.pretrained import Pretrained
from convista.transfer.trunk import Trunk

__all__ = [
    "KEPT",
    "FeatureTable",
    "check_out",
    "everything",
    "feature_table",
    "read_pictures",
    "table_of",
    "trunk_of",
    "usable",
    "written",
]

KEPT = "features"  # where in the user's cache features lie
NO_PARQUET = "A .parquet file needs pyarrow: pip install 'convista[scale]', or write .npz."
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

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The first view's features, one row a picture: (n, D), as probes, neighbours and maps take them."""
        return self.features[:, 0].reshape(len(self.paths), -1).astype(np.float32)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that there are, in the order of their numbers in `targets`."""
        return tuple(sorted(set(self.labels)))

    @property
    def targets(self) -> NDArray[np.int64]:
        """The number of each picture's label: (n,)."""
        return np.unique(np.array(self.labels), return_inverse=True)[1].astype(np.int64)

    @property
    def kept(self) -> NDArray[np.float16]:
        """What is written: (n, …), or (n, views, …) of several views."""
        return self.features[:, 0] if self.features.shape[1] == 1 else self.features

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
    source, views = open_source(data), Views(asked.views, read_policy(asked.augment), asked.seed)
    trunk = trunk_of(base, asked)
    pictures, bad = usable(source, base.view, console.reading)
    if asked.adapt != "none":
        trunk = trunk_of(adapted(base, pictures, asked.adapt, trunk.device), asked)
    made = features_of(trunk, pictures, views, user_cache() / KEPT, console.reading)
    if not made.kept:
        console.say(UNKEPT)
    entries = [Entry(picture.path, picture.label, None) for picture in pictures.pictures]
    return table_of(base.model, entries, made.values, made.computed, made.seconds, bad)


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


def trunk_of(base: Pretrained, asked: FeatureRecipe) -> Trunk:
    """The network up to the layer that is asked for. Raises `UnknownNameError` where there is none of that name, and
    `InputError` for maps of what has none.
    """
    device = pick_device(asked.device)
    precision = fast_precision(device) if asked.precision == "auto" else asked.precision
    trunk = Trunk(base.net, base.view, device, asked.layer or "", asked.maps, precision)
    if asked.maps and len(trunk.shape) == 1:
        what = f"the layer '{asked.layer}' puts out" if asked.layer else "the classifier is given"
        raise InputError(f"maps were asked for, but what {what} is a vector. Name a --layer before it that has maps.")
    return trunk


def read_pictures(source: Source, view: View, progress: Progress | None = None) -> tuple[Pictures, tuple[BadFile, ...]]:
    """Every picture of a source as the network's `view` keeps it, whether folders name classes or not, and the files
    that are none. Raises `DataError` where there is no file.
    """
    entries, bad = everything(source)
    shape = (view.stored, view.stored, view.channels)
    cache = open_cache((user_cache(),), view.stored, view.channels)
    found, damaged, _ = inspect(source, entries, view.stored, view.channels, cache, progress)
    labels = sorted({picture.label for picture in found})
    return pictures_of(source, cache, shape, found, labels), (*bad, *damaged)


def usable(source: Source, view: View, progress: Progress | None = None) -> tuple[Pictures, tuple[BadFile, ...]]:
    """`read_pictures`, of which there must be some. Raises `DataError`."""
    pictures, bad = read_pictures(source, view, progress)
    if not len(pictures):
        raise DataError(f"There is no usable picture in '{source.name}' ({len(bad)} files are none). {reasons(bad)}")
    return pictures, bad


def check_out(out: Path) -> None:
    """Raises `InputError` for a place where no table could be written, before there is one."""
    if out.suffix and out.suffix not in KINDS and not out.is_dir():
        raise InputError(f"--out {out} was given; expected a folder, or a file that ends in {' or '.join(KINDS)}.")
    if out.suffix in KINDS:
        check_parent(out)
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(NO_PARQUET)


def written(table: FeatureTable, out: Path) -> Path:
    """Writes a table into `out`, a file that ends in .npz or .parquet, or `features.npz` in a folder. Raises what
    `check_out` raises.
    """
    check_out(out)
    file = out if out.suffix in KINDS else out / "features.npz"
    if file is not out:
        make_folder(out)
    write_atomically(file, _parquet(table) if file.suffix == ".parquet" else _npz(table))
    return file


def _npz(table: FeatureTable) -> bytes:
    buffer = io.BytesIO()
    told = {"labels": table.labels, "paths": table.paths, "classes": table.classes, "model": table.model}
    arrays = {name: np.array(values) for name, values in told.items()}
    np.savez(buffer, features=table.kept, targets=table.targets, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _parquet(table: FeatureTable) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    flat = table.features.reshape(len(table.paths), -1).astype(np.float32)
    columns = {"path": list(table.paths), "label": list(table.labels), "features": list(flat)}
    told = {"model": table.model, "shape": str(list(table.kept.shape[1:]))}  # of a picture's features, which lie flat
    parquet.write_table(pa.table(columns).replace_schema_metadata(told), buffer)
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
