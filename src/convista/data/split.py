"""Which picture trains, which validates, which tests: stratified, seeded, and never the same content twice."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convista.data.chance import permutation
from convista.data.source import NO_LABELS
from convista.errors import DataError, InputError
from convista.records import BadFile

__all__ = ["SPLITS", "Picture", "assign_splits", "drop_conflicts", "in_turn", "some_of_each"]

SPLITS = ("train", "val", "test")
SHOWN = 8  # classes that an error names
VAL_SHARE, TEST_SHARE = 0.10, 0.15  # of each class, where the data does not say itself


@dataclass(frozen=True)
class Picture:
    """A readable picture: where it lies, what it shows, in which split (None: not decided), and its content's hash."""

    path: str
    label: str
    split: str | None
    digest: str


def in_turn(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows (n,) that take the classes in turn: the first of each class, then the second of each, and so on.

    >>> in_turn(np.array([0, 0, 0, 1, 2, 2])).tolist()
    [0, 3, 4, 1, 5, 2]
    """
    order = np.argsort(targets, kind="stable")
    ranked = targets[order]
    turn = np.empty(len(targets), np.int64)
    turn[order] = np.arange(len(targets)) - np.searchsorted(ranked, ranked)
    return np.lexsort((targets, turn))


def some_of_each(targets: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most so many rows, ascending: of each class equally many where it has them, drawn by the seed."""
    order = permutation(seed, 0, len(targets))
    return np.sort(order[in_turn(targets[order])[:most]])


def drop_conflicts(pictures: Sequence[Picture]) -> tuple[list[Picture], list[BadFile]]:
    """Leaves out what would make a score lie.

    Of byte-identical files in several of the user's splits only the copies in the last one stay (test before val
    before train); identical files under different labels all go. Returns the rest and the reasons.
    """
    copies: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        copies[picture.digest].append(picture)
    judges = {digest: max(same, key=_rank) for digest, same in copies.items()}
    odd = {digest: {p.label: p for p in same} for digest, same in copies.items()}
    kept, bad = [], []
    for picture in pictures:
        other = next((p for label, p in odd[picture.digest].items() if label != picture.label), None)
        judge = judges[picture.digest]
        if other:
            bad.append(BadFile(picture.path, f"identical to {other.path}, which has another label"))
        elif _rank(picture) < _rank(judge):
            bad.append(BadFile(picture.path, f"identical to {judge.path} in another split"))
        else:
            kept.append(picture)
    return kept, bad


def assign_splits(pictures: Sequence[Picture], seed: int, limit: int | None = None) -> list[Picture]:
    """Gives each undecided picture a split.

    Where the data names no split, each class gives 15 % to test and 10 % to val (at least one each); where it names
    some, the missing ones are taken from train in the same way. Which pictures they are depends on `seed` and their
    content, so that a picture added later moves a few others at most. Raises `DataError` when a class is too small.

    With a `limit` only so many pictures (copies count once) train, of each class equally many where it has them, at
    most half as many validate and at most as many test. They are chosen by their content alone, the same for every
    seed. The others have no split. Pictures without labels all train.
    """
    named = {picture.split for picture in pictures if picture.split}
    shares = [(name, share) for name, share in (("test", TEST_SHARE), ("val", VAL_SHARE)) if name not in named]
    classes = sorted({picture.label for picture in pictures})
    if tuple(classes) == NO_LABELS:
        return _without_labels(pictures, limit)
    if len(classes) < 2:
        raise DataError(f"There is one class only ({', '.join(classes)}); a classifier needs at least two.")
    mine: dict[str, set[str]] = {label: set() for label in classes}
    for picture in pictures:
        if (picture.split or "train") == "train":
            mine[picture.label].add(picture.digest)
    _check_sizes({label: len(digests) for label, digests in mine.items()}, max(2, 1 + len(shares)))
    sizes = {label: _sizes(len(digests), shares) for label, digests in mine.items()}
    room = {label: len(digests) - sum(sizes[label].values()) for label, digests in mine.items()}
    quotas = {} if limit is None else _equal_parts(limit, room)  # of training pictures
    split_of: dict[str, str] = {}
    for label, digests in mine.items():
        split_of.update(_share_out(digests, sizes[label], quotas.get(label), seed))
    dealt = [replace(p, split=split_of.get(p.digest)) if (p.split or "train") == "train" else p for p in pictures]
    if limit is None:
        return dealt
    return _at_most(_at_most(dealt, "val", max(len(classes), limit // 2)), "test", limit)


def _without_labels(pictures: Sequence[Picture], limit: int | None) -> list[Picture]:
    """All train, or so many of them."""
    digests = {picture.digest for picture in pictures}
    if len(digests) < 2:
        raise DataError("There is one usable picture only; what is learned without labels needs others beside it.")
    chosen = set(_shuffled(digests, "limit")[:limit])
    return [replace(p, split="train" if p.digest in chosen else None) for p in pictures]


def _sizes(count: int, shares: Sequence[tuple[str, float]]) -> dict[str, int]:
    """How many of `count` contents each split takes from train; one at least stays."""
    sizes, left = {}, count - 1
    for name, share in shares:
        sizes[name] = min(max(1, round(share * count)), left)
        left -= sizes[name]
    return sizes


def _equal_parts(limit: int, room: dict[str, int]) -> dict[str, int]:
    """`limit` dealt out to classes with so much room: what a small one cannot give, the others do."""
    if limit < len(room):
        raise InputError(f"limit={limit} was given; with {len(room)} classes it must be at least {len(room)}.")
    parts, left = {}, limit
    for i, label in enumerate(sorted(room, key=lambda label: (room[label], label))):
        parts[label] = min(room[label], left // (len(room) - i))
        left -= parts[label]
    return parts


def _share_out(digests: set[str], sizes: dict[str, int], quota: int | None, seed: int) -> dict[str, str]:
    """The split of each content. Where only so many train, they come first and the seed has no part in it."""
    order = _shuffled(digests, seed if quota is None else "limit")
    start = quota or 0
    result = dict.fromkeys(order[:start], "train")
    for name, size in sizes.items():
        result.update(dict.fromkeys(order[start : start + size], name))
        start += size
    return result if quota is not None else result | dict.fromkeys(order[start:], "train")


def _at_most(pictures: Sequence[Picture], split: str, most: int) -> list[Picture]:
    """The pictures with at most so many contents in a split, of each class equally many where it has them."""
    mine: dict[str, set[str]] = {}
    for picture in pictures:
        if picture.split == split:
            mine.setdefault(picture.label, set()).add(picture.digest)
    quotas = _equal_parts(most, {label: len(digests) for label, digests in mine.items()})
    chosen = {digest for label, quota in quotas.items() for digest in _shuffled(mine[label], "limit")[:quota]}
    return [replace(p, split=None) if p.split == split and p.digest not in chosen else p for p in pictures]


def _shuffled(digests: set[str], key: object) -> list[str]:
    return sorted(digests, key=lambda digest: hashlib.blake2b(f"{key}/{digest}".encode()).digest())


def _check_sizes(sizes: dict[str, int], needed: int) -> None:
    small = [f"'{label}' has {found}" for label, found in sizes.items() if found < needed]
    if small:
        named = f"{', '.join(small[:SHOWN])}{', …' * (len(small) > SHOWN)}"
        raise DataError(
            f"At least {needed} different usable pictures to train on are needed in each class, so that each split "
            f"gets one; {named}. Add pictures, or take the folder{'s' * (len(small) > 1)} away."
        )


def _rank(picture: Picture) -> int:
    return SPLITS.index(picture.split or "train")
