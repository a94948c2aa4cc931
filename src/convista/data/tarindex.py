"""What lies where in a tar archive: found in one pass over its headers, so that any member can be read afterwards."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from convista.data.source import is_junk
from convista.errors import DataError

__all__ = ["Index", "Member", "index_of"]

BLOCK = tarfile.BLOCKSIZE
WORDS = ("cls", "json")  # endings of the members that name a class; they are small, and kept with the index
NAMES = ("classes.txt", "classnames.txt", "labels.txt")  # members that list the classes' names, one a line
LONGEST = 1 << 20  # bytes of such a member
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, where its bytes are, and its text where that may name a class."""

    name: str
    offset: int
    size: int
    text: str | None = None


@dataclass(frozen=True)
class Index:
    """The files of an archive in their order, and what is wrong with it: (member or nothing, reason)."""

    members: tuple[Member, ...]
    faults: tuple[tuple[str, str], ...]


def index_of(stream: IO[bytes], shown: str) -> Index:
    """The index of an archive that can seek. Raises `DataError` when it is compressed as a whole."""
    start = stream.read(8)
    for mark, packer in PACKED.items():
        if start.startswith(mark):
            raise DataError(
                f"{shown} is compressed with {packer}, and pictures in it cannot be reached one by one. Unpack it to a "
                "plain .tar: pictures are compressed already."
            )
    if not start:
        return Index((), (("", "an empty file (0 bytes)"),))
    stream.seek(0)
    members: list[Member] = []
    faults: list[tuple[str, str]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            _walk(tar, members, faults)
            stream.seek(tar.offset)
            if stream.read(BLOCK) != bytes(BLOCK):
                faults.append(("", f"cut off or damaged behind {len(members):,} files"))
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        whole = f"cut off or damaged behind {len(members):,} files ({error})"
        faults.append(("", whole if members else f"not a tar archive ({error})"))
    if not members and not faults:
        faults.append(("", "an empty archive"))
    return Index(tuple(members), tuple(faults))


def _walk(tar: tarfile.TarFile, members: list[Member], faults: list[tuple[str, str]]) -> None:
    behind = -1
    for info in tar:
        if info.offset_data <= behind or info.size < 0:
            raise tarfile.ReadError("a member that lies before its predecessor")
        behind = info.offset_data
        path = PurePosixPath(info.name)
        name = "/".join(part for part in path.parts if part != ".")
        if info.isdir() or any(is_junk(part) for part in path.parts if part not in (".", "..")):
            continue
        if path.is_absolute() or ".." in path.parts:
            faults.append((info.name, "its path leads out of the archive"))
        elif not info.isfile() or info.issparse():
            faults.append((name, "not a regular file"))
        else:
            members.append(Member(name, info.offset_data, info.size, _text(tar, info)))


def _text(tar: tarfile.TarFile, info: tarfile.TarInfo) -> str | None:
    name = PurePosixPath(info.name).name.lower()
    if info.size > LONGEST or not (name in NAMES or name.partition(".")[2] in WORDS):
        return None
    file = tar.extractfile(info)
    return file.read().decode(errors="replace").lstrip("\ufeff").strip() if file else None
