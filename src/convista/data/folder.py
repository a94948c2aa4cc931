"""What the folders say: which file belongs to which class and split."""

from __future__ import annotations

from collections.abc import Sequence

from convista.data.source import Entry, Source
from convista.errors import DataError
from convista.records import BadFile

__all__ = ["SPLIT_NAMES", "Entry", "by_folder", "list_pictures"]

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def list_pictures(source: Source, needs_train: bool = True) -> tuple[list[Entry], list[BadFile]]:
    """Every file with a class, and those without one. Raises `DataError` when nothing is there."""
    named = source.entries()
    if named is None:
        files = source.files()
        if not files:
            raise DataError(
                f"There are no files in '{source.name}'. Expected one folder per class with pictures in it."
            )
        named = by_folder(files)
    entries, bad = named
    if not entries:
        raise DataError(
            f"There are no class folders in '{source.name}'. Expected one folder per class with pictures in it."
        )
    if needs_train:
        _check_labels(entries)
    return entries, bad


def by_folder(files: Sequence[str]) -> tuple[list[Entry], list[BadFile]]:
    """Every path below a class folder, and those that lie outside of one.

    Folders around the data (`photos.zip` that holds one folder `photos/`, perhaps a README beside) are stepped into.
    With a folder `train` the next level names the classes, without it the first one does.
    """
    paths = [path.split("/") for path in files]
    root = _root(paths)
    splits = _has_splits([parts[root:] for parts in paths])
    entries, bad = [], []
    for path in files:
        parts = path.split("/")[root:]
        split = SPLIT_NAMES.get(parts[0].lower()) if splits else None
        if len(parts) < (3 if splits else 2):
            bad.append(BadFile(path, "outside any class folder"))
        elif splits and split is None:
            bad.append(BadFile(path, f"in '{parts[0]}', which is none of train, val, test"))
        else:
            entries.append(Entry(path, parts[1 if splits else 0], split))
    return entries, bad


def _root(paths: Sequence[list[str]]) -> int:
    """How many folders are wrapped around the data: each holds one folder, and that is no class."""
    depth = 0
    while True:
        inside = [parts for parts in paths if len(parts) > depth + 1]
        names = {parts[depth] for parts in inside}
        deeper = sum(len(parts) > depth + 2 for parts in inside)
        if len(names) != 1 or 2 * deeper <= len(inside) or min(names).lower() in SPLIT_NAMES:
            return depth
        depth += 1


def _has_splits(paths: Sequence[list[str]]) -> bool:
    """Whether a folder `train` holds class folders; a class that happens to be called `train` holds pictures."""
    train = [len(parts) for parts in paths if len(parts) > 1 and SPLIT_NAMES.get(parts[0].lower()) == "train"]
    return 2 * sum(length > 2 for length in train) > len(train)


def _check_labels(entries: Sequence[Entry]) -> None:
    trained = {entry.label for entry in entries if entry.split in (None, "train")}
    for entry in entries:
        if entry.label not in trained:
            raise DataError(f"Class '{entry.label}' is in '{entry.split}' but not in 'train': it cannot be learned.")
