"""A data set on one page: its map, what is double, what is in doubt, and how well its classes hold together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from convista.files import shown
from convista.records import BadFile
from convista.reports.maps import map_page
from convista.reports.sprites import Gallery, Sprite, Stored, sprite
from convista.reports.text import percent
from convista.transfer import Overview
from convista.transfer.overview import IMPROBABLE

__all__ = ["overview_page"]

SIDE = 96  # pixels of a thumbnail
GROUPS, MEMBERS, DOUBTS, FILES = 40, 12, 60, 100  # shown of each; the others are counted
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Tile:
    """A figure at the page's head, and what stands beside it."""

    what: str
    figure: str
    beside: str


@dataclass(frozen=True)
class Thumb:
    """A picture of a list: where it is in the sprite, and what is written below it."""

    place: tuple[int, int]
    name: str
    label: str | None
    split: str | None


@dataclass(frozen=True)
class Double:
    """A group of near-duplicates, of which `more` are not shown."""

    pictures: list[Thumb]
    more: int
    similarity: float
    splits: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Odd:
    """A picture in doubt."""

    picture: Thumb
    guess: str
    confidence: float


@dataclass(frozen=True)
class ClassRow:
    """A class: its pictures, those in each split, and those in doubt."""

    label: str
    pictures: int
    splits: list[int]
    doubts: int


@dataclass(frozen=True)
class Findings:
    """What stands around the map."""

    tiles: list[Tile]
    left_out: tuple[str, ...]
    sheet: Sprite
    threshold: float
    leaks: int
    groups: list[Double]
    more_groups: int
    doubts: list[Odd]
    more_doubts: int
    improbable: float
    splits: list[str]
    classes: list[ClassRow]
    bad: list[BadFile]
    more_bad: int


def overview_page(overview: Overview) -> str:
    """The page as HTML text, with every picture, style and script inside."""
    seen = overview.seen
    gallery = Gallery(Stored(seen.pictures), seen.labels, seen.paths)
    title = f"{overview.name}, seen by {overview.model}"
    return map_page(title, overview.points, gallery, overview.note, _findings(overview, gallery))


def _findings(overview: Overview, gallery: Gallery) -> Findings:
    groups, doubts = overview.groups[:GROUPS], overview.doubts[:DOUBTS]
    used = [row for group in groups for row in group.rows[:MEMBERS]] + [doubt.row for doubt in doubts]
    rows = list(dict.fromkeys(used))
    sheet = sprite([gallery.thumbnails[row] for row in rows], SIDE)
    thumbs = {
        row: Thumb(sheet.place(i), gallery.name(row), gallery.labels[row], overview.splits[row])
        for i, row in enumerate(rows)
    }
    return Findings(
        _tiles(overview), overview.left_out, sheet, overview.threshold, len(overview.leaks),
        [
            Double([thumbs[row] for row in group.rows[:MEMBERS]], max(0, len(group.rows) - MEMBERS),
                   group.similarity, group.splits, group.labels)
            for group in groups
        ],
        len(overview.groups) - len(groups),
        [Odd(thumbs[doubt.row], doubt.guess, doubt.confidence) for doubt in doubts],
        len(overview.doubts) - len(doubts),
        IMPROBABLE, _splits(overview), _classes(overview),
        [BadFile(shown(file.path), file.reason) for file in overview.bad[:FILES]],
        max(0, len(overview.bad) - FILES),
    )  # fmt: skip


def _tiles(overview: Overview) -> list[Tile]:
    n, leaks = len(overview.points), len(overview.leaks)
    tiles = [Tile("pictures", f"{n:,}", f"{len(overview.classes):,} classes" if overview.classes else "no classes")]
    if overview.retrieval is not None:
        scores, floor = overview.retrieval.scores, overview.retrieval.floor
        names = {"recall@1": "nearest is of the class", "map": "mean average precision"}
        tiles += [Tile(said, percent(scores[name]), f"floor {percent(floor[name])}") for name, said in names.items()]
    tiles.append(Tile("near-duplicates", f"{len(overview.groups):,}", f"groups, {leaks:,} across splits"))
    if overview.classes:
        share = percent(len(overview.doubts) / n)
        tiles.append(Tile("probably in the wrong class", f"{len(overview.doubts):,}", f"{share} of all"))
    return tiles


def _splits(overview: Overview) -> list[str]:
    there = set(overview.splits)
    return [split for split in SPLITS if split in there]


def _classes(overview: Overview) -> list[ClassRow]:
    doubts = Counter(doubt.label for doubt in overview.doubts)
    each = Counter(zip(overview.seen.labels, overview.splits, strict=True))
    return [
        ClassRow(label, count, [each[label, split] for split in _splits(overview)], doubts[label])
        for label, count in overview.classes.items()
    ]
