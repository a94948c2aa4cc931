"""Which picture trains, which validates, which tests: stratified, seeded, and never the same content twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from convista.errors import DataError
from convista.records import BadFile

__all__ = ["SPLITS", "Picture", "assign_splits", "drop_conflicts"]

SPLITS = ("train", "val", "test")
VAL_SHARE, TEST_SHARE = 0.10, 0.15  # of each class, where the data does not say itself


@dataclass(frozen=True)
class Picture:
    """A readable picture: where it lies, what it shows, in which split (None: not decided), and its content's hash."""

    path: str
    label: str
    split: str | None
    digest: str


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


def assign_splits(pictures: Sequence[Picture], seed: int) -> list[Picture]:
    """Gives each undecided picture a split.

    Where the data names no split, each class gives 15 % to test and 10 % to val (at least one each); where it names
    some, the missing ones are taken from train in the same way. Which pictures they are depends on `seed` and their
    content, so that a picture added later moves a few others at most. Raises `DataError` when a class is too small.
    """
    named = {picture.split for picture in pictures if picture.split}
    shares = [(name, share) for name, share in (("test", TEST_SHARE), ("val", VAL_SHARE)) if name not in named]
    classes = sorted({picture.label for picture in pictures})
    if len(classes) < 2:
        raise DataError(f"There is one class only ({', '.join(classes)}); a classifier needs at least two.")
    split_of: dict[str, str] = {}
    for label in classes:
        mine = [p for p in pictures if p.label == label and (p.split or "train") == "train"]
        _check_size(label, len({p.digest for p in mine}), 1 + len(shares))
        split_of.update(_share_out(mine, shares, seed))
    return [replace(p, split=split_of[p.digest]) if (p.split or "train") == "train" else p for p in pictures]


def _share_out(pictures: Sequence[Picture], shares: Sequence[tuple[str, float]], seed: int) -> dict[str, str]:
    counts = Counter(p.digest for p in pictures)
    order = sorted(counts, key=lambda digest: hashlib.blake2b(f"{seed}/{digest}".encode()).digest())
    result, start = {}, 0
    for name, share in shares:
        end = start + max(1, round(share * len(order)))
        end = min(end, len(order) - 1)
        result.update(dict.fromkeys(order[start:end], name))
        start = end
    return result | dict.fromkeys(order[start:], "train")


def _check_size(label: str, found: int, needed: int) -> None:
    if found < max(2, needed):
        needed = max(2, needed)
        raise DataError(
            f"Class '{label}' has {found} different usable picture{'s' * (found != 1)} to train on; at least {needed} "
            "are needed, so that each split gets one. Add pictures, or take the folder away."
        )


def _rank(picture: Picture) -> int:
    return SPLITS.index(picture.split or "train")
