"""What a pretrained network is worth on the user's pictures: the accuracy of a probe on pictures that were left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from convista.data import Pictures, Source, drop_conflicts, in_turn, reasons, user_cache
from convista.errors import DataError
from convista.records import BadFile, View
from convista.transfer.extract import Progress, Views, features_of
from convista.transfer.logistic import cross_validate, stratified
from convista.transfer.pretrained import Pretrained
from convista.transfer.spectrum import Classes
from convista.transfer.table import KEPT, usable
from convista.transfer.trunk import Trunk

__all__ = ["FOLDS", "Evidence", "classified", "evidence", "floor_of"]

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Evidence:
    """For each picture whether a probe that had not seen it was `right` (n,); how many features were `computed` for it
    and how many `reused`, in how many `seconds`.
    """

    right: NDArray[np.bool_]
    computed: int
    reused: int
    seconds: float

    @property
    def top1(self) -> float:
        """The share of pictures that were named rightly, 0..1."""
        return float(self.right.mean())

    @property
    def error(self) -> float:
        """The standard error of `top1`, as of pictures drawn at random."""
        return float(np.sqrt(self.top1 * (1 - self.top1) / len(self.right)))

    def gain(self, other: Evidence) -> tuple[float, float]:
        """By how much it is better than another on the same pictures, and the standard error of that difference.

        What both do right or wrong says nothing about it, so it is smaller than that of either.
        """
        apart = self.right.astype(np.float64) - other.right
        return float(apart.mean()), float(apart.std() / np.sqrt(len(apart)))


def evidence(
    base: Pretrained, pictures: Pictures, device: torch.device, progress: Progress | None = None, seed: int = 0
) -> Evidence:
    """The softmax probe of five folds on features that are kept; `seed` says who is in which. Raises `InputError`."""
    trunk = Trunk(base.net, base.view, device)
    found = features_of(trunk, pictures, Views(), user_cache() / KEPT, progress)
    targets, values = pictures.targets, found.values[:, 0].astype(np.float32)
    judged = cross_validate(values, targets, int(targets.max()) + 1, stratified(targets, FOLDS, seed))
    right = np.asarray(judged.left_out.argmax(1) == targets)
    return Evidence(right, found.computed, found.reused, found.seconds)


def classified(
    source: Source, view: View, limit: int, progress: Progress | None = None
) -> tuple[Pictures, tuple[BadFile, ...]]:
    """At most `limit` pictures whose folders name their classes, of each class equally many where it has them.

    Which they are is decided by their content alone; of copies there is one, and none where their labels differ. With
    them come the files that are of no use. Raises `DataError` below two classes, and for a class of one picture.
    """
    pictures, bad = usable(source, view, progress)
    kept, conflicts = drop_conflicts(pictures.pictures)
    files = {id(picture) for picture in {picture.digest: picture for picture in reversed(kept)}.values()}
    chosen = _equally([i for i, picture in enumerate(pictures.pictures) if id(picture) in files], pictures, limit)
    found = _part(pictures, chosen)
    _check_classes(found, source, (*bad, *conflicts))
    return found, (*bad, *conflicts)


def floor_of(targets: Classes) -> float:
    """The accuracy of always saying the most frequent class."""
    return float(np.bincount(targets).max() / len(targets))


def _equally(indices: list[int], pictures: Pictures, limit: int) -> NDArray[np.int64]:
    """The first of each class, then the second of each, and so on, in the order of their contents' hashes."""
    order = np.array(sorted(indices, key=lambda i: pictures.pictures[i].digest), np.int64)
    return np.sort(order[in_turn(pictures.targets[order])[:limit]])


def _part(pictures: Pictures, chosen: NDArray[np.int64]) -> Pictures:
    """Some of the pictures, their classes numbered anew."""
    part = pictures.only(chosen)
    return replace(part, targets=np.unique(part.targets, return_inverse=True)[1].astype(np.int64))


def _check_classes(pictures: Pictures, source: Source, bad: tuple[BadFile, ...]) -> None:
    labels = sorted({picture.label for picture in pictures.pictures})
    if len(labels) < 2:
        what = f"one class only ({labels[0]})" if labels and labels[0] else "no class folder"
        raise DataError(
            f"There is {what} in '{source.name}'; what a network is worth shows on at least two classes, each a folder "
            f"of pictures. {reasons(bad)}".rstrip()
        )
    counts = np.bincount(pictures.targets)
    if counts.min() < 2:
        raise DataError(
            f"Class '{labels[int(counts.argmin())]}' has one usable picture only; at least 2 are needed, so that one "
            f"can be left out. {reasons(bad)}".rstrip()
        )
