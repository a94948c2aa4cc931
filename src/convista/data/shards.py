"""WebDataset shards: pictures and their classes in `.tar` files, on disk or on a web server, read where they lie.

A sample is what shares a name up to the first dot: `00012.jpg` with `00012.cls` (a number or a name), or with
`00012.json` that has `label` or `class`. Where no shard names a class in this way, the folders in them do
(`cat/001.jpg`). Shards whose name says so (`train-000.tar`, `val/000.tar`) are splits.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import product
from pathlib import Path, PurePosixPath
from typing import IO, cast

from convista.data.cache import user_cache
from convista.data.folder import SPLIT_NAMES, by_folder
from convista.data.remote import Remote, RemoteStream
from convista.data.source import LARGEST_FILE, Entry, Source, UnreadableError
from convista.data.tarindex import NAMES, WORDS, Index, Member, index_of
from convista.errors import ConvistaError, DataError
from convista.files import shown, without_login, without_secrets, write_atomically
from convista.records import BadFile

__all__ = ["Shard", "ShardSource", "expand_braces"]

PICTURES = {"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"}
AHEAD = 1 << 20  # bytes asked for at once while a shard on a server is indexed
MOST = 100_000  # shards


def expand_braces(pattern: str) -> list[str]:
    """The names that braces stand for, in order.

    >>> expand_braces("{train,val}-{008..010}.tar")[1:4]
    ['train-009.tar', 'train-010.tar', 'val-008.tar']
    """
    parts = re.split(r"\{([^{}]*,[^{}]*|\d+\.\.\d+)\}", pattern)
    choices = [_choices(part) if i % 2 else [part] for i, part in enumerate(parts)]
    count = 1
    for part in choices:
        count *= len(part)
    if not 0 < count <= MOST:
        raise DataError(f"{without_secrets(pattern)} stands for {count:,} shards; expected 1 to {MOST:,}.")
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(braces: str) -> Sequence[str]:
    if "," in braces:
        return braces.split(",")
    first, _, last = braces.partition("..")
    if int(last) - int(first) >= MOST:
        raise DataError(f"{{{braces}}} stands for more than {MOST:,} shards.")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


@dataclass(frozen=True)
class Shard:
    """One archive: its address, its name within the data, and its split if the name says one."""

    address: str
    name: str
    split: str | None

    @cached_property
    def remote(self) -> Remote | None:
        """The connection to it, where it is not on disk."""
        return Remote(self.address) if "://" in self.address else None

    @cached_property
    def index(self) -> Index:
        """What lies where; made once, and kept for the next run where the shard is on a server."""
        if self.remote is not None:
            return _remote_index(self.remote)
        try:
            status = os.stat(self.address)  # noqa: PTH116
            return _local_index(self.address, (status.st_size, status.st_mtime_ns))
        except OSError as error:
            raise DataError(f"{self.address} cannot be read: {(error.strerror or str(error)).lower()}.") from None

    def elsewhere(self) -> Shard:
        """The same for another process: nothing is open, no login is told, and its working directory may differ."""
        remote = "://" in self.address
        address = without_login(self.address) if remote else os.path.abspath(self.address)  # noqa: PTH100  # keeps links
        return replace(self, address=address)

    def read(self, member: Member) -> bytes:
        """A member's bytes. Raises `UnreadableError`, or `DataError` when a server keeps failing."""
        if member.size > LARGEST_FILE:
            raise UnreadableError(f"too large: {member.size:,} bytes (at most {LARGEST_FILE:,})")
        if self.remote is not None:
            data = self.remote.part(member.offset, member.size) if member.size else b""
        else:
            try:
                with open(self.address, "rb", buffering=0) as file:  # noqa: PTH123
                    file.seek(member.offset)
                    data = file.read(member.size)
            except OSError as error:
                raise UnreadableError(f"cannot be read: {(error.strerror or 'unknown error').lower()}") from None
        if len(data) < member.size:
            raise UnreadableError(f"cut off: {len(data):,} of {member.size:,} bytes are in the shard")
        return data


@lru_cache(maxsize=4096)
def _local_index(path: str, _version: tuple[int, int]) -> Index:
    with open(path, "rb") as file:  # noqa: PTH123
        return index_of(file, path)


def _remote_index(remote: Remote) -> Index:
    """From the user's cache where the server still has the same version; else in one pass, which is kept."""
    key = blake2b(f"{remote.address} {remote.size} {remote.version}".encode(), digest_size=16).hexdigest()
    kept = user_cache() / "shards" / f"{key}.json"
    try:
        found = json.loads(kept.read_text()) if remote.version else None
        if found:
            return Index(tuple(Member(**row) for row in found["members"]), tuple(map(tuple, found["faults"])))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    stream = io.BufferedReader(RemoteStream(remote), AHEAD)
    index = index_of(cast(IO[bytes], stream), remote.shown)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(asdict(index)))
    except (OSError, ConvistaError):
        pass
    return index


class ShardSource(Source):
    """The pictures in shards. Raises `DataError` when one cannot be read at all."""

    def __init__(self, addresses: Sequence[str]):
        self.shards = _named(addresses)
        self.name = _title(addresses)
        self._places: dict[str, tuple[Shard, Member]] = {
            f"{shard.name}/{member.name}": (shard, member)
            for shard in self.shards
            for member in shard.index.members
            if member.text is None
        }

    def files(self) -> list[str]:
        """`SHARD/MEMBER` of every file with a picture's ending, sorted."""
        return sorted(path for path in self._places if PurePosixPath(path).suffix[1:].lower() in PICTURES)

    def read(self, path: str) -> bytes:
        """A member's content, by its place in the shard."""
        shard, member = self._places[path]
        return shard.read(member)

    def part(self, paths: Sequence[str]) -> Source:
        """A few of the pictures and where they lie, without the index of the shards; and without a login."""
        places = {path: self._places[path] for path in paths}
        moved = {shard: shard.elsewhere() for shard, _ in places.values()}
        part = copy(self)
        part.shards = tuple(moved.values())
        part._places = {path: (moved[shard], member) for path, (shard, member) in places.items()}
        return part

    def entries(self) -> tuple[list[Entry], list[BadFile]]:
        """The samples in the order that a folder of them would have; what is unusable, with reasons."""
        bad = [
            BadFile(f"{shard.name}/{shown(name)}" if name else shard.name, reason)
            for shard in self.shards
            for name, reason in shard.index.faults
        ]
        splits = any(shard.split == "train" for shard in self.shards)
        for shard in self.shards if splits else ():
            if shard.split is None and shard.index.members:
                bad.append(BadFile(shard.name, "a shard whose name is none of train, val, test, as others have"))
        used = [shard for shard in self.shards if shard.split or not splits]
        words = [_Words.of(shard) for shard in used]
        if any(found.labelled for found in words):
            entries, unusable = self._by_words(words, splits)
        else:
            entries, unusable = self._by_folder(used, splits)
        bad += unusable
        if not entries:
            why = "; ".join(f"{shown(file.path)}: {file.reason}" for file in bad[:5])
            raise DataError(
                f"There are no pictures with a class in the shards of '{self.name}' ({why or 'nothing is in them'}). "
                "Expected 00012.jpg with 00012.cls or 00012.json beside, or one folder per class in the shards."
            )
        return entries, bad

    def _by_folder(self, shards: Sequence[Shard], splits: bool) -> tuple[list[Entry], list[BadFile]]:
        paths: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for shard in shards:
            for member in shard.index.members:
                if member.text is None:
                    paths[f"{shard.split}/{member.name}" if splits else member.name][f"{shard.name}/{member.name}"] = (
                        None
                    )
        entries, bad = by_folder(sorted(paths))
        return (
            [Entry(path, entry.label, entry.split) for entry in entries for path in paths[entry.path]],
            [BadFile(path, file.reason) for file in bad for path in paths[file.path]],
        )

    def _by_words(self, words: Sequence[_Words], splits: bool) -> tuple[list[Entry], list[BadFile]]:
        names = next((found.names for found in words if found.names), ())
        order: list[tuple[str, str, Entry]] = []
        bad: list[BadFile] = []
        for found in words:
            for key in sorted(found.keys):
                picture, label, reason = found.sample(key, names)
                path = f"{found.shard.name}/{picture or key}"
                if reason:
                    bad.append(BadFile(path, reason))
                else:
                    split = found.shard.split if splits else None
                    order.append((f"{split}/{label}/{PurePosixPath(picture).name}", path, Entry(path, label, split)))
        return [entry for *_, entry in sorted(order, key=lambda row: row[:2])], bad


@dataclass(frozen=True)
class _Words:
    """What the members of a shard say about classes, by key."""

    shard: Shard
    keys: dict[str, list[Member]]
    names: tuple[str, ...]

    @classmethod
    def of(cls, shard: Shard) -> _Words:
        keys: defaultdict[str, list[Member]] = defaultdict(list)
        names: tuple[str, ...] = ()
        for member in shard.index.members:
            folder, _, base = member.name.rpartition("/")
            if base.lower() in NAMES and member.text is not None:
                names = tuple(line.strip() for line in member.text.splitlines())
            else:
                keys[f"{folder}/{base.partition('.')[0]}".lstrip("/")].append(member)
        return cls(shard, dict(keys), names)

    @property
    def labelled(self) -> bool:
        """Whether a class is named beside any picture."""
        return any(list(_labels(members)) for members in self.keys.values())

    def sample(self, key: str, names: Sequence[str]) -> tuple[str, str, str]:
        """A sample's picture and class, and why it cannot be used (nothing where it can)."""
        members = self.keys[key]
        pictures = [member.name for member in members if _ending(member) in PICTURES]
        picture = pictures[0] if pictures else ""
        try:
            labels = {_named_label(label, names): None for label in _labels(members)}
        except ValueError as error:
            return picture, "", str(error)
        if not pictures:
            return "", "", "a class without a picture" if labels else "neither a picture nor a class"
        if len(pictures) > 1:
            return picture, "", f"{len(pictures)} pictures in one sample"
        if len(labels) != 1:
            return picture, "", f"two classes: {' and '.join(labels)}" if labels else "a picture without a class"
        return picture, next(iter(labels)), ""


def _labels(members: Iterable[Member]) -> Iterable[str]:
    """The classes that a sample's members name, as they are written."""
    for member in members:
        if member.text is None or _ending(member) not in WORDS:
            continue
        if _ending(member) == "cls":
            yield member.text
            continue
        try:
            data = json.loads(member.text)
        except (ValueError, RecursionError):
            continue
        label = data.get("label", data.get("class")) if isinstance(data, dict) else None
        if isinstance(label, str | int) and not isinstance(label, bool):
            yield str(label).strip()


def _named_label(label: str, names: Sequence[str]) -> str:
    """A class's name; numbers are looked up where the shards have a list of names. Raises `ValueError`."""
    if not label or len(label.splitlines()) > 1 or len(label) > 200:
        raise ValueError("an empty class" if not label else "its class is not one short line")
    if not (names and label.isdecimal()):
        return label
    if int(label) >= len(names):
        raise ValueError(f"class {label} is not one of the {len(names)} names in the shards")
    return names[int(label)]


def _ending(member: Member) -> str:
    """What stands behind the first dot of a member's name: its part in the sample."""
    return PurePosixPath(member.name).name.partition(".")[2].lower()


def _named(addresses: Sequence[str]) -> tuple[Shard, ...]:
    """The shards with short names, and their splits. Raises `DataError` where two would have one name.

    Names must not depend on the working directory, which a resumed run need not share: so paths are made absolute.
    """
    paths = [a.partition("?")[0] if "://" in a else os.path.abspath(a) for a in addresses]  # noqa: PTH100  # keeps links
    common = os.path.commonpath([os.path.dirname(path) for path in paths]) if len(paths) > 1 else None  # noqa: PTH120
    shards: dict[str, Shard] = {}
    for address, path in zip(addresses, paths, strict=True):
        name = PurePosixPath(Path(path).name if common is None else os.path.relpath(path, common)).as_posix()
        if name in shards:
            raise DataError(
                f"The shards {without_secrets(shards[name].address)} and {without_secrets(address)} have one name, "
                f"{name}: their pictures could not be told apart. Name each shard once, and different ones differently."
            )
        shards[name] = Shard(address, name, _split(name))
    return tuple(shards.values())


def _split(name: str) -> str | None:
    """The split that a shard's name or its folder says.

    >>> _split("train-000.tar"), _split("val/000.tar"), _split("pictures-000.tar")
    ('train', 'val', None)
    """
    words = {SPLIT_NAMES[word] for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_NAMES}
    return words.pop() if len(words) == 1 else None


def _title(addresses: Sequence[str]) -> str:
    """What the data are called: the shard, or the folder of several."""
    path = PurePosixPath(without_secrets(addresses[0]).partition("?")[0])
    path = path if "://" in addresses[0] else PurePosixPath(Path(addresses[0]).resolve().as_posix())
    return re.sub(r"[^\w.-]+", "-", path.stem if len(addresses) == 1 else path.parent.name) or "shards"
