"""Trees of files that hold pictures: a folder, a `.zip` of it read in place, the built-in digits."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from convista.errors import DataError
from convista.records import BadFile

__all__ = [
    "LARGEST_FILE",
    "NO_LABELS",
    "DigitsSource",
    "Entry",
    "FolderSource",
    "Source",
    "UnlabelledSource",
    "UnreadableError",
    "ZipSource",
    "is_junk",
]

JUNK = {"__macosx", "thumbs.db", "desktop.ini"}
NO_LABELS = ("",)  # the classes of pictures that have none
LARGEST_FILE = 1 << 30  # bytes; a file that unpacks to more is not read into memory


class UnreadableError(Exception):
    """One file cannot be read; the text is the reason as the user reads it."""


@dataclass(frozen=True)
class Entry:
    """A file with the class that it shows, and its split where the data has `train/ val/ test/`."""

    path: str
    label: str
    split: str | None


class Source(ABC):
    """A tree of files, whatever holds it."""

    name: str

    @abstractmethod
    def files(self) -> list[str]:
        """The paths of all files, relative, with `/`, sorted; hidden files and system litter left out."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """A file's content. Raises `UnreadableError` with the reason."""

    def entries(self) -> tuple[list[Entry], list[BadFile]] | None:
        """The pictures and what is unusable, where the source itself knows the classes; None where folders say."""
        return None

    def part(self, paths: Sequence[str]) -> Source | None:
        """A few of the files, to be read on another machine; None where that had better open the whole by its name."""
        return None


class FolderSource(Source):
    """Files below a folder on disk; links are followed, circles among them are not."""

    def __init__(self, root: Path):
        self.root, self.name = root, root.resolve().name or "pictures"

    def files(self) -> list[str]:
        """The relative paths of all files, sorted; run folders are left out, unreadable folders count as files."""
        found: list[str] = []
        entered: set[str] = set()
        unreadable: list[str] = []
        walk = os.walk(self.root, onerror=lambda error: unreadable.append(error.filename), followlinks=True)
        for folder, folders, names in walk:
            real = os.path.realpath(folder)
            if real in entered or {"run.json", "spec.json"} <= set(names):
                folders.clear()
                continue
            entered.add(real)
            folders[:] = [name for name in folders if not is_junk(name)]
            found += [self._inside(Path(folder) / name) for name in names if not is_junk(name)]
        return sorted([*found, *map(self._inside, unreadable)])

    def _inside(self, path: str | Path) -> str:
        return Path(path).relative_to(self.root).as_posix()

    def read(self, path: str) -> bytes:
        """A file's content, whole."""
        file = self.root / path
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("not a regular file")
            if status.st_size > LARGEST_FILE:
                raise UnreadableError(f"too large: {status.st_size:,} bytes (at most {LARGEST_FILE:,})")
            return file.read_bytes()
        except FileNotFoundError:
            raise UnreadableError("broken link" if file.is_symlink() else "no such file") from None
        except OSError as error:
            raise UnreadableError(f"cannot be read: {(error.strerror or 'unknown error').lower()}") from None


class ZipSource(Source):
    """Files inside a zip archive, read without unpacking it."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.stem
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is not a readable zip archive ({error}).") from None

    def files(self) -> list[str]:
        """The paths of all members that are files, sorted."""
        names = (info.filename for info in self.archive.infolist() if not info.is_dir())
        return sorted({name for name in names if not any(is_junk(part) for part in PurePosixPath(name).parts)})

    def read(self, path: str) -> bytes:
        """A member's content, unpacked in memory."""
        info = self.archive.getinfo(path)
        if info.file_size > LARGEST_FILE:
            raise UnreadableError(f"too large: unpacks to {info.file_size:,} bytes (at most {LARGEST_FILE:,})")
        try:
            return self.archive.read(info)
        except NotImplementedError:
            raise UnreadableError("packed in a way that cannot be read here") from None
        except RuntimeError:
            raise UnreadableError("encrypted in the archive") from None
        except Exception as error:  # zlib, lzma and zipfile each raise their own kinds
            raise UnreadableError(f"damaged in the archive ({error})") from None


class DigitsSource(Source):
    """scikit-learn's 1,797 scans of handwritten digits (8x8, 17 grey levels), as if they were PNG files."""

    name = "digits"

    def files(self) -> list[str]:
        """`0/0000.png` … : the class is the folder."""
        return sorted(_digits())

    def read(self, path: str) -> bytes:
        """The scan as a PNG file of 8x8 pixels."""
        return _digits()[path]


@cache
def _digits() -> dict[str, bytes]:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits, files = load_digits(), {}
    for i, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        buffer = io.BytesIO()
        Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8)).save(buffer, "png")
        files[f"{label}/{i:04d}.png"] = buffer.getvalue()
    return files


class UnlabelledSource(Source):
    """Another source's files, whose folders tell neither classes nor splits."""

    def __init__(self, source: Source):
        self.source, self.name = source, source.name

    def files(self) -> list[str]:
        """All of them."""
        return self.source.files()

    def read(self, path: str) -> bytes:
        """A file's content, whole."""
        return self.source.read(path)

    def entries(self) -> tuple[list[Entry], list[BadFile]]:
        """Every file, of one class without a name. Raises `DataError` where there is none."""
        files = self.files()
        if not files:
            raise DataError(f"There are no pictures in '{self.name}'. Expected a folder with pictures in it.")
        return [Entry(path, *NO_LABELS, None) for path in files], []


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden or the litter of an operating system."""
    return name.startswith(".") or name.lower() in JUNK
