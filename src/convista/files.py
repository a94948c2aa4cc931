"""Files that are either whole or not there, and one clear error when a place cannot be written."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from convista.errors import InputError, StorageError

__all__ = [
    "check_page",
    "check_parent",
    "make_folder",
    "shown",
    "storage_error",
    "sweep",
    "without_login",
    "without_secrets",
    "write_atomically",
]

WHY = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.EROFS: "it is read-only",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EEXIST: "there is a file of that name",
}


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises `StorageError` and leaves the old content when the disk is full or the place cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with beside.open("wb") as file:
                file.write(data.encode(errors="surrogateescape") if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from None


def shown(name: str) -> str:
    r"""A file's name on one line: whatever cannot be printed is escaped.

    >>> print(shown("new\nline"))
    new\nline
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def sweep(folder: Path) -> None:
    """Takes away what a process that was killed while writing has left."""
    for file in folder.glob(".*.tmp"):
        file.unlink(missing_ok=True)


def make_folder(path: Path) -> Path:
    """Makes a folder and proves that it can be written. Raises `StorageError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise storage_error(path, error) from None
    return path


def check_parent(path: Path) -> None:
    """Raises `InputError` where the folder that a file is to be written into does not exist."""
    if not path.parent.is_dir():
        raise InputError(
            f"There is no folder {path.parent} to write {path.name} into. Make it, or choose another --out."
        )


def check_page(path: Path) -> None:
    """Raises `InputError` where a page cannot be written, before any work is done for it."""
    if path.suffix.lower() != ".html":
        raise InputError(f"--out {path} was given; expected a name that ends in .html.")
    check_parent(path)
    probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise storage_error(path, error) from None


def storage_error(path: Path, error: OSError) -> StorageError:
    """The operating system's error in our words."""
    why = WHY.get(error.errno or 0, (error.strerror or str(error)).lower())
    cure = "Make room there, or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose"
    return StorageError(f"{path} cannot be written: {why}. {cure} another place.")


def without_login(text: str) -> str:
    """A web address without the user and the password in it.

    >>> without_login("https://ann:secret@host/a.tar")
    'https://host/a.tar'
    """
    return re.sub(r"(?<=://)[^/\s'\"]+@", "", text)


def without_secrets(text: str) -> str:
    """The same, and what stands behind a question mark is hidden, too: signed addresses hold their key there.

    >>> without_secrets("https://ann:secret@host/a.tar?key=123")
    'https://host/a.tar?…'
    """
    return re.sub(r"(://[^\s'\"?]*\?)[^\s'\"]+", r"\1…", without_login(text))
