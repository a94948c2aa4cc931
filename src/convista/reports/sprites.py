"""Many small pictures as one, which a page carries inside itself and shows parts of."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convista.data import Pictures
from convista.errors import InputError
from convista.files import shown

__all__ = ["Gallery", "Sprite", "Stored", "sprite"]

GREY = 128  # what surrounds a picture that is not square
QUALITY = 85  # of the JPEG


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures as pages show them, each with a name and, where it is known, its class.

    A thumbnail is of bytes: (h, w) or (h, w, 1) grey, (h, w, 3) colour, of any size. `contents`, where given, tell
    which pictures are the same. Raises `InputError` where a thumbnail is something else, and where there are not as
    many labels and names.
    """

    thumbnails: Sequence[NDArray[np.uint8]]
    labels: Sequence[str | None]
    names: Sequence[str]
    contents: Sequence[str] = ()

    def __post_init__(self) -> None:
        sizes = {"thumbnails": len(self.thumbnails), "labels": len(self.labels), "names": len(self.names)}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{count:,} {what}" for what, count in sizes.items())
            raise InputError(f"There are {told}. Expected one of each for every picture.")
        for i, pixels in enumerate([] if isinstance(self.thumbnails, Stored) else self.thumbnails):
            if pixels.dtype != np.uint8 or not pixels.size or pixels.shape[2:] not in ((), (1,), (3,)):
                raise InputError(
                    f"Thumbnail {i} is {pixels.dtype} of the shape {pixels.shape}. Expected bytes (uint8) of (h, w), "
                    "(h, w, 1) or (h, w, 3)."
                )

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """A picture's name, whatever is in it, on one line."""
        return shown(self.names[i])


class Stored(Sequence[NDArray[np.uint8]]):
    """Pictures of a data set as thumbnails; each is read when it is looked at."""

    def __init__(self, pictures: Pictures):
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: Any) -> Any:
        """One picture, (side, side, channels), or several of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.pictures[index]


@dataclass(frozen=True)
class Sprite:
    """Square tiles of `side` pixels in rows of `columns`, as a `data:` address."""

    address: str
    side: int
    columns: int
    rows: int

    def place(self, i: int) -> tuple[int, int]:
        """The column and row of a tile."""
        return i % self.columns, i // self.columns


def sprite(thumbnails: Sequence[NDArray[np.uint8]], side: int) -> Sprite:
    """All thumbnails in tiles of `side` pixels, a multiple of 16, so that JPEG mixes no tile with its neighbour."""
    columns = max(1, math.isqrt(max(0, len(thumbnails) - 1)) + 1)
    rows = max(1, -(-len(thumbnails) // columns))
    grey = all(pixels.shape[2:] != (3,) for pixels in thumbnails)
    sheet = Image.new("L" if grey else "RGB", (columns * side, rows * side), GREY if grey else (GREY,) * 3)
    for i, pixels in enumerate(thumbnails):
        tile = _fitted(Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels), side)
        left, top = (i % columns) * side, (i // columns) * side
        sheet.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "jpeg", quality=QUALITY, optimize=True)
    return Sprite("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), side, columns, rows)


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """As large as the tile allows; the pixels of small pictures stay visible squares."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
