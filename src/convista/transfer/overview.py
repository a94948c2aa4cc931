"""What features tell of a whole data set: a map, how well classes hold together, what is double, what is in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from convista.data import Source
from convista.errors import InputError
from convista.feature_recipes import MapRecipe
from convista.files import shown
from convista.records import BadFile
from convista.training import Console
from convista.transfer.doubts import Suspect, suspects
from convista.transfer.faults import Duplicates, duplicates, usual_threshold
from convista.transfer.lookup import Seen, look
from convista.transfer.maps import pca, project
from convista.transfer.pretrained import Pretrained
from convista.transfer.retrieval import Retrieval, retrieval
from convista.transfer.table import trunk_of

__all__ = ["Doubt", "Group", "Overview", "overview_of"]

PLACED = 5000  # pictures that t-SNE lays out by itself, and that ask for others of their class
FOLDS = 5  # parts into which pictures are dealt to judge labels; smaller classes are not judged
KS = (1, 5, 10)
PAIRED = 100_000  # pictures among which all pairs are looked at
NAMED = 5  # of a kind, where there is a line for each
POOR = 0.75  # of the nearest pictures are of the class; below, the network tells too little apart to be believed
IMPROBABLE = 0.05  # a class less probable than this is in doubt; see docs/results/neighbours.md
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Group:
    """Pictures (row numbers) that are nearly the same; `similarity` is the cosine of the closest two.

    `splits` and `labels` are those among them: several splits are a leak, several labels a contradiction.
    """

    rows: tuple[int, ...]
    similarity: float
    splits: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Doubt:
    """A picture (its row) that is probably in the wrong class: how probable its own is, and which one is more."""

    row: int
    label: str
    probability: float
    guess: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Overview:
    """A data set as a network sees it. `points` (n, 2) are the places of the pictures in `seen` by `method`.

    `groups` are near-duplicates (leaks first), `doubts` probable label errors (the most probable first), `retrieval`
    is None where there are no classes. `left_out` says in sentences what could not be judged.
    """

    model: str
    name: str
    method: str
    note: str
    points: NDArray[np.float64]
    splits: tuple[str | None, ...]
    retrieval: Retrieval | None
    threshold: float
    groups: tuple[Group, ...]
    doubts: tuple[Doubt, ...]
    left_out: tuple[str, ...]
    seen: Seen = field(repr=False)

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """Files that are no pictures."""
        return self.seen.bad

    @property
    def classes(self) -> dict[str, int]:
        """How many pictures each class has."""
        return dict(sorted(Counter(label for label in self.seen.labels if label is not None).items()))

    @property
    def leaks(self) -> tuple[Group, ...]:
        """Near-duplicates in different splits."""
        return tuple(group for group in self.groups if len(group.splits) > 1)

    def __str__(self) -> str:
        told = [f"{len(self.points):,} pictures of {len(self.classes) or 'unknown'} classes by {self.model}"]
        if self.retrieval is not None:
            told.append(f"retrieval: {self.retrieval}")
        groups = f"{len(self.groups):,} group{'s' * (len(self.groups) != 1)}"
        told.append(
            f"near-duplicates (cosine from {self.threshold:.3f}): {groups}, {len(self.leaks):,} of them across splits"
        )
        paths = [shown(path) for path in self.seen.paths]
        told += _some([f"  {' = '.join(paths[row] for row in group.rows)}" for group in self.groups])
        if self.classes:
            told.append(f"probably in the wrong class: {len(self.doubts):,}")
        told += _some([f"  {paths[doubt.row]}, rather {doubt.guess}" for doubt in self.doubts])
        return "\n".join([*told, *self.left_out])

    def to_json(self) -> dict[str, Any]:
        """All but the pixels, as plain data."""
        paths = self.seen.paths
        groups = [vars(group) | {"rows": [paths[row] for row in group.rows]} for group in self.groups]
        doubts = [vars(doubt) | {"row": paths[doubt.row]} for doubt in self.doubts]
        places = zip(paths, self.seen.labels, self.splits, *self.points.T.tolist(), strict=True)
        return {
            "model": self.model,
            "method": self.method,
            "pictures": len(paths),
            "classes": self.classes,
            "retrieval": None if self.retrieval is None else vars(self.retrieval),
            "threshold": self.threshold,
            "near_duplicates": [_renamed(group, "rows", "paths") for group in groups],
            "doubts": [_renamed(doubt, "row", "path") for doubt in doubts],
            "left_out": list(self.left_out),
            "bad_files": [vars(file) for file in self.bad],
            "places": [dict(zip(("path", "label", "split", "x", "y"), place, strict=True)) for place in places],
        }


def _some(lines: list[str]) -> list[str]:
    """The first ones, and how many more there are."""
    return lines[:NAMED] + [f"  and {len(lines) - NAMED:,} more"] * (len(lines) > NAMED)


def overview_of(base: Pretrained, source: Source, asked: MapRecipe, console: Console) -> Overview:
    """Looks at all pictures of a source. What cannot be judged is said, and the rest is done.

    Raises `DataError` where there is no usable picture.
    """
    seen = look(trunk_of(base, asked.features), source, console)
    n, said = len(seen.pictures), list[str]()
    console.say(f"{n:,} pictures: placing them, and looking for what is double or in doubt")
    method = asked.method or ("tsne" if n <= PLACED else "pca")
    values = seen.values.astype(np.float32)
    rows = np.flatnonzero(values.any(1))
    if len(rows) < n:
        said.append(f"{n - len(rows):,} pictures have no features but zeros: they are on the map, and are not judged.")
    labels = [seen.labels[row] for row in rows]
    splits = _splits(base, seen)
    threshold, groups = _alike(values[rows], asked.alike, said)
    alike = _numbers(groups, len(rows))
    found = _retrieved(values[rows], labels, said)
    said += _cautions(base, seen, found)
    return Overview(
        base.model, source.name, method, *_placed(values, method, asked.seed),
        splits, found, threshold,
        _told(groups, rows, seen.labels, splits), _doubted(values[rows], labels, rows, alike, asked.seed, said),
        tuple(said), seen,
    )  # fmt: skip


def _cautions(base: Pretrained, seen: Seen, found: Retrieval | None) -> Iterator[str]:
    """What makes groups and doubts less than they seem."""
    near = 1.0 if found is None else found.scores["recall@1"]
    if near < POOR:
        yield (
            f"Caution: {base.model} tells these pictures apart poorly (the nearest is of the class in {near:.0%}), so "
            "what is called double or doubtful here may be neither: look before you delete, or take another network."
        )
    run = base.run
    learned = 0 if run is None or run.verb != "train" else run.knows(seen.pictures.digests, "train")
    if learned:
        yield (
            f"Caution: {base.source} has learned the classes of {learned:,} of these pictures, right or wrong, so it "
            "doubts them less than a network that has not."
        )


def _splits(base: Pretrained, seen: Seen) -> tuple[str | None, ...]:
    """Of the run, where there is one; else as the folders say."""
    known = {} if base.run is None else base.run.splits
    return tuple(known.get(picture.digest, picture.split) for picture in seen.pictures.pictures)


def _placed(values: NDArray[np.float32], method: str, seed: int) -> tuple[str, NDArray[np.float64]]:
    """What the map is, and where each picture lies on it (n, 2)."""
    if method == "pca":
        found = pca(values)
        first, second = found.explained
        return f"Principal components of the features: {first:.0%} and {second:.0%} of their variance.", found.points
    note = f"By t-SNE of the features (seed {seed}): who lies beside whom says something, clusters' distances do not."
    return note, project(values, method, seed)


def _alike(values: NDArray[np.float32], alike: float | None, said: list[str]) -> tuple[float, list[Duplicates]]:
    if len(values) < 2:
        return 1.0, []
    threshold = usual_threshold(values) if alike is None else alike
    if len(values) > PAIRED:
        said.append(f"Near-duplicates are not looked for among more than {PAIRED:,} pictures: all pairs take too long.")
        return threshold, []
    return threshold, duplicates(values, threshold)


def _told(
    groups: list[Duplicates], rows: NDArray[np.int64], labels: list[str | None], splits: tuple[str | None, ...]
) -> tuple[Group, ...]:
    """Leaks first, then contradictions, then the others; the most similar first."""
    found = []
    for group in groups:
        members = tuple(int(rows[row]) for row in group.rows)
        mine, classes = ({of[row] or "" for row in members} - {""} for of in (splits, labels))
        found.append(Group(members, group.similarity, tuple(sorted(mine, key=_order)), tuple(sorted(classes))))
    return tuple(sorted(found, key=lambda group: (len(group.splits) < 2, len(group.labels) < 2, -group.similarity)))


def _order(split: str) -> int:
    return ("train", "val", "test").index(split)


def _retrieved(values: NDArray[np.float32], labels: list[str | None], said: list[str]) -> Retrieval | None:
    """How well pictures find others of their class; of many pictures a part, evenly spaced."""
    known = np.array([row for row, label in enumerate(labels) if label is not None], np.int64)
    if not len(known):
        said.append("No folder says a class: how well classes hold together, and wrong labels, are left out.")
        return None
    if len(known) > PLACED:
        said.append(f"Retrieval is that of {PLACED:,} pictures, evenly spaced, among one another.")
        known = known[np.linspace(0, len(known) - 1, PLACED).round().astype(np.int64)]
    ks = tuple(k for k in KS if k < len(known)) or (1,)
    return _tried(lambda: retrieval(values[known], [labels[row] for row in known], ks, "cosine"), "Retrieval", said)


def _numbers(groups: list[Duplicates], count: int) -> NDArray[np.int64]:
    """A number for each of so many pictures, the same for near-duplicates."""
    numbers = np.arange(count)
    for group in groups:
        numbers[list(group.rows)] = group.rows[0]
    return numbers


def _doubted(
    values: NDArray[np.float32],
    labels: list[str | None],
    rows: NDArray[np.int64],
    alike: NDArray[np.int64],
    seed: int,
    said: list[str],
) -> tuple[Doubt, ...]:
    """Pictures whose own class is improbable to a probe that was fitted to others, near-duplicates not among them."""
    counts = Counter(label for label in labels if label is not None)
    classes = sorted(label for label, count in counts.items() if count >= FOLDS)
    small = len(counts) - len(classes)
    if small:
        said.append(f"{small:,} classes have fewer than {FOLDS} pictures: whether they are right is not judged.")
    if len(classes) < 2:
        said += [] if small or not counts else ["There is one class only, so no picture can be in the wrong one."]
        return ()
    number = {label: i for i, label in enumerate(classes)}
    judged = np.array([row for row, label in enumerate(labels) if label in number], np.int64)
    targets = np.array([number[labels[row] or ""] for row in judged], np.int64)

    def found() -> tuple[Suspect, ...]:
        return suspects(values[judged], targets, len(classes), len(judged), FOLDS, seed, alike[judged])

    return tuple(
        Doubt(int(rows[judged[it.picture]]), classes[it.target], it.probability, classes[it.guess], it.confidence)
        for it in _tried(found, "Wrong labels", said) or ()
        if it.probability < IMPROBABLE
    )


def _tried(what: Callable[[], Answer], name: str, said: list[str]) -> Answer | None:
    """The answer; where the features do not allow one, None, and the reason is said."""
    try:
        return what()
    except InputError as error:
        said.append(f"{name}: {error}")
        return None


def _renamed(record: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in record.items()}
