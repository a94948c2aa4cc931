"""The pictures of a data set that are nearest to other pictures, in the eyes of a network."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convista.data import Entry, Pictures, Source, open_source, upright, user_cache
from convista.errors import DataError, InputError, RunError
from convista.feature_recipes import NeighbourRecipe
from convista.files import shown
from convista.records import BadFile
from convista.tasks.run import Picture, named_pictures
from convista.training import Console
from convista.transfer.extract import Views, features_of
from convista.transfer.neighbours import nearest
from convista.transfer.pretrained import Pretrained
from convista.transfer.table import KEPT, read_pictures, trunk_of, usable
from convista.transfer.trunk import Trunk

__all__ = ["Found", "Neighbour", "Neighbours", "Query", "Seen", "find_neighbours", "look", "source_of"]

TABLES = (".npz", ".parquet")


@dataclass(frozen=True)
class Neighbour:
    """A picture near a query; `same` where it is the query itself, by the content of its file."""

    path: str
    label: str | None
    distance: float
    same: bool


@dataclass(frozen=True)
class Query:
    """A picture that was asked about, its class where that is known, and its neighbours, the nearest first."""

    path: str
    label: str | None
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures, their features (n, D), and the files that are no pictures."""

    pictures: Pictures
    values: NDArray[np.float16]
    bad: tuple[BadFile, ...]

    @property
    def paths(self) -> list[str]:
        """The pictures' names."""
        return [picture.path for picture in self.pictures.pictures]

    @property
    def labels(self) -> list[str | None]:
        """The pictures' classes; None where no folder says one."""
        return [picture.label or None for picture in self.pictures.pictures]

    @property
    def contents(self) -> list[str]:
        """What tells one picture from another: the hashes of the files."""
        return [picture.digest for picture in self.pictures.pictures]


@dataclass(frozen=True, eq=False)
class Found:
    """What a page shows: queries with their classes, and for each the `rows` (m, k) of the pictures that are near."""

    queries: Seen
    labels: tuple[str | None, ...]
    stored: Seen
    distances: NDArray[np.float64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each of the `queries` the nearest of `pictures`, by `metric` of the features of `model`.

    `skipped` are queries that are no pictures, `bad` such files among the pictures.
    """

    model: str
    metric: str
    pictures: int
    queries: tuple[Query, ...]
    skipped: tuple[BadFile, ...]
    bad: tuple[BadFile, ...]
    found: Found = field(repr=False)

    def __str__(self) -> str:
        return "\n".join(line for query in self.queries for line in _lines(query))

    def to_json(self) -> dict[str, Any]:
        """All but the pixels, as plain data."""
        told = {name: getattr(self, name) for name in ("model", "metric", "pictures")}
        told["queries"] = [
            vars(query) | {"neighbours": [vars(it) for it in query.neighbours]} for query in self.queries
        ]
        return told | {name: [vars(file) for file in getattr(self, name)] for name in ("skipped", "bad")}


def find_neighbours(
    base: Pretrained, queries: Picture | Iterable[Picture], source: Source, asked: NeighbourRecipe, console: Console
) -> Neighbours:
    """The `asked.top` pictures of a source that are nearest to each query; all of them but one where there are fewer.

    A query that is among the pictures is at distance 0 from itself. Its class is that of its copy among the pictures,
    or that of its folder if the folder is called like a class. Raises `DataError` where no query is a picture, or
    there are fewer than two pictures to look among.
    """
    trunk, mine = trunk_of(base, asked.features), _Named(queries)
    given, skipped = read_pictures(mine, base.view)
    if not len(given):
        told = "; ".join(f"{shown(file.path)}: {file.reason}" for file in skipped[:5])
        raise DataError(f"No query is a usable picture ({told}{'; …' if len(skipped) > 5 else ''}).")
    stored = look(trunk, source, console)
    if len(stored.pictures) < 2:
        raise DataError(f"There is one picture only in '{source.name}'; neighbours are looked for among two or more.")
    values = features_of(trunk, given, Views(), user_cache() / KEPT, console.reading).values
    own = Seen(given, values.reshape(len(given), -1), skipped)
    if asked.metric == "cosine":
        _check_directions(own, stored)
    top = min(asked.top, len(stored.pictures) - 1)
    distances, rows = nearest(own.values, stored.values, top, asked.metric)
    found = Found(own, tuple(_labels(own, stored)), stored, distances, rows)
    return Neighbours(
        base.model, asked.metric, len(stored.pictures), tuple(_told(found)), skipped, stored.bad, found
    )  # fmt: skip


def look(trunk: Trunk, source: Source, console: Console) -> Seen:
    """The features of a source's pictures, found where they are kept. Raises `DataError` where there are none."""
    pictures, bad = usable(source, trunk.view, console.reading)
    values = features_of(trunk, pictures, Views(), user_cache() / KEPT, console.reading).values
    return Seen(pictures, values.reshape(len(pictures), -1), bad)


def source_of(model: str, base: Pretrained | None, data: str | None) -> Source:
    """The pictures of `data`, else those that the run has used.

    Raises `InputError` where neither is there, `RunError` where the run's pictures are not where they were.
    """
    if data is not None and Path(data).suffix.lower() in TABLES and Path(data).is_file():
        raise InputError(
            f"{data} holds features, and does not say of which network. Name the folder of pictures: their features "
            "are kept, and found again."
        )
    if data is not None:
        return open_source(data)
    run = None if base is None else base.run
    if run is None:
        raise InputError(
            f"{model} is a network, which has no pictures of its own as a run has: name a folder of pictures, a .zip "
            "of one, .tar shards, or digits."
        )
    try:
        return open_source(run.info["data"])
    except DataError as error:
        raise RunError(
            f"The pictures of {run.path} are not where they were: name where they are now. {error}"
        ) from None


class _Named(Source):
    """Pictures of one's own choice: files, folders, archives, patterns, Pillow images."""

    name = "the queries"

    def __init__(self, images: Picture | Iterable[Picture]):
        self._readers = dict(named_pictures(images))
        if not self._readers:
            raise DataError("There is no file among the queries. Expected pictures: files, folders or patterns.")

    def files(self) -> list[str]:
        return list(self._readers)

    def read(self, path: str) -> bytes:
        found = self._readers[path]()
        return _as_file(found) if isinstance(found, Image.Image) else bytes(found)

    def entries(self) -> tuple[list[Entry], list[BadFile]]:
        return [Entry(name, "", None) for name in self._readers], []


def _as_file(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    upright(image).save(buffer, "png")
    return buffer.getvalue()


def _check_directions(*several: Seen) -> None:
    for seen in several:
        still = np.flatnonzero(~seen.values.any(1))
        if len(still):
            raise InputError(
                f"All features of {shown(seen.paths[still[0]])} are zero, which has no direction, so no cosine with "
                "any other. Take --metric l2, another --layer, or leave the picture out."
            )


def _labels(own: Seen, stored: Seen) -> Iterable[str | None]:
    """The class of each query: its folder's, if that is one, else the one that all its copies have."""
    copies: dict[str, set[str | None]] = {}
    for content, label in zip(stored.contents, stored.labels, strict=True):
        copies.setdefault(content, set()).add(label)
    for path, content in zip(own.paths, own.contents, strict=True):
        folder, said = PurePath(path).parent.name, copies.get(content, set())
        yield folder if folder in stored.labels else next(iter(said)) if len(said) == 1 else None


def _told(found: Found) -> Iterable[Query]:
    paths, labels, contents = found.stored.paths, found.stored.labels, found.stored.contents
    asked = zip(found.queries.paths, found.queries.contents, found.labels, found.distances, found.rows, strict=True)
    for path, content, label, distances, rows in asked:
        near = [
            Neighbour(paths[j], labels[j], distance, contents[j] == content)
            for distance, j in zip(distances.tolist(), rows.tolist(), strict=True)
        ]
        yield Query(path, label, tuple(near))


def _lines(query: Query) -> Iterable[str]:
    yield shown(query.path)
    for it in query.neighbours:
        yield f"  {it.distance:.4f}  {shown(it.path)}{'  (the same picture)' if it.same else ''}"
