"""From what the user calls the data to the files behind it."""

from __future__ import annotations

import glob
import os
import zipfile
from pathlib import Path
from typing import Any

from convista.data.folder import SPLIT_NAMES
from convista.data.shards import ShardSource, expand_braces
from convista.data.source import DigitsSource, FolderSource, Source, ZipSource, is_junk
from convista.errors import DataError, InputError
from convista.files import without_login, without_secrets

__all__ = ["check_data", "lasting_address", "open_source"]

EXPECTED = "Expected a folder with one folder per class, a .zip of one, .tar shards, or 'digits'."


def open_source(data: str | os.PathLike[str]) -> Source:
    """The files behind `digits`, a folder, a zip archive or `.tar` shards, each a path; shards may be addresses, too.

    `train-{000..003}.tar` and `train-*.tar` name several shards. Raises `DataError` when there is no such thing.
    """
    text = os.fspath(data)
    if "://" in text:
        return ShardSource(_addresses(text))
    path = Path(data)
    try:
        if path.is_dir():
            shards = _shards_in(path)
            return ShardSource(shards) if shards else FolderSource(path)
        if path.is_file() and zipfile.is_zipfile(path):
            return ZipSource(path)
        if text == "digits":
            return DigitsSource()
        if ".tar" in text or text.endswith(".tgz"):
            return ShardSource([text] if path.is_file() else _matches(text))
        found = "is a file, but not a zip archive" if path.exists() else "does not exist"
    except OSError as error:
        found = f"cannot be read ({(error.strerror or str(error)).lower()})"
    raise DataError(f"{data} {found}. {EXPECTED}")


def check_data(data: Any) -> None:
    """Raises `InputError` for what cannot be the name of pictures."""
    if not isinstance(data, str | os.PathLike):
        raise InputError(
            f"A {type(data).__name__} was given as data; expected the path of a folder or .zip, or 'digits'."
        )


def lasting_address(data: str) -> str:
    """The same data, named so that it is found from any working directory; a login is left out."""
    if "://" in data:
        return without_login(data)
    if Path(data).exists():
        return str(Path(data).resolve())
    if data == "digits":
        return data
    here = glob.escape(os.getcwd())  # noqa: PTH109  # what is left is a pattern
    names = expand_braces(data) if data.startswith("{") else []
    if any(map(os.path.isabs, names)):  # then the folder belongs before the others only: {/disk/a,b}.tar
        return f"{{{','.join(os.path.join(here, name) for name in names)}}}"  # noqa: PTH118
    return os.path.join(here, data)  # noqa: PTH118


def _addresses(text: str) -> list[str]:
    scheme = text.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise DataError(f"{without_secrets(text)} was given; shards are read from disk, http:// and https:// only.")
    if "*" in text.partition("?")[0]:
        raise DataError(
            f"{without_secrets(text)} was given; a web server does not say what it has. Name the shards: "
            "train-{000..003}.tar."
        )
    return expand_braces(text)


def _matches(pattern: str) -> list[str]:
    """The shards that a pattern names, in order; each part of the pattern must name at least one."""
    found: dict[str, None] = {}
    for name in expand_braces(pattern):
        names = [name] if Path(name).is_file() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207  # absolute patterns
        if not names:
            raise DataError(f"{name} does not exist. {EXPECTED}")
        found |= dict.fromkeys(names)
    return list(found)


def _shards_in(folder: Path) -> list[str]:
    """The `.tar` files of a folder, or of its folders `train`, `val`, `test`, where there are no others in it."""
    inside = [path for path in folder.iterdir() if not is_junk(path.name)]
    folders = [path for path in inside if path.is_dir()]
    if any(path.name.lower() not in SPLIT_NAMES for path in folders):
        return []
    deeper = [path for split in folders for path in split.iterdir() if not is_junk(path.name)]
    if any(path.is_dir() for path in deeper):
        return []
    return sorted(str(path) for path in (*inside, *deeper) if path.suffix.lower() == ".tar")
