"""From a file's bytes to a square of pixels, whatever the file is; or to the reason why not."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["BadPictureError", "Decoded", "decode", "picture_size", "squared", "upright"]

Pixels = NDArray[np.uint8]
SMALLEST_SIDE = 4  # pixels; less is a tracking dot or a mistake, not a picture


class BadPictureError(Exception):
    """The bytes are no usable picture; the text is the reason as the user reads it."""


@dataclass(frozen=True)
class Decoded:
    """A picture as `(side, side, channels)` bytes; `notes` says what had to be done to it."""

    pixels: Pixels
    notes: tuple[str, ...] = ()


def decode(data: bytes, side: int, channels: int) -> Decoded:
    """The centre square of a picture, resampled to `side` pixels, upright, grey (1 channel) or RGB (3).

    JPEG is decoded at the smallest of its eight scales that is large enough. Only the first frame of an animation
    counts; transparency is laid over white; 16-bit greys keep their full range. Raises `BadPictureError`.
    """
    return squared(_open(data), side, channels)


def squared(image: Image.Image, side: int, channels: int) -> Decoded:
    """`decode` for a picture that Pillow has opened already."""
    notes: list[str] = []
    flat = _flat(image, side, notes)
    return Decoded(_square(flat.convert("L" if channels == 1 else "RGB"), side, channels), tuple(notes))


def upright(picture: bytes | Image.Image) -> Image.Image:
    """The whole picture, upright, in 8 bits and without transparency. Raises `BadPictureError`."""
    return _flat(_open(picture) if isinstance(picture, bytes) else picture, None, [])


def _flat(image: Image.Image, side: int | None, notes: list[str]) -> Image.Image:
    """The picture upright and in 8 bits, decoded no larger than `side` needs; `notes` takes what was done to it."""
    if min(image.size) < SMALLEST_SIDE:
        raise BadPictureError(f"too small ({image.width}x{image.height} pixels; at least {SMALLEST_SIDE} a side)")
    try:
        if getattr(image, "n_frames", 1) > 1:
            notes.append(f"{image.format} animation: first frame used")
        width, height = image.size
        if side is not None and min(width, height) >= 2 * side:
            scale = side / min(width, height)
            image.draft(None, (round(width * scale), round(height * scale)))
        image.load()
        return _eight_bit(_upright(image, notes), notes)
    except (BadPictureError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, …
        raise BadPictureError(f"truncated or damaged ({error})") from None


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header alone. Raises `BadPictureError`."""
    return _open(data).size


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadPictureError("empty file (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadPictureError("not a picture") from None
    except Image.DecompressionBombError:
        raise BadPictureError("too many pixels: a decompression bomb, or a picture to be made smaller first") from None
    except Exception as error:  # as in decode
        raise BadPictureError(f"truncated or damaged ({error})") from None
    return image


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        turned = image.getexif().get(0x0112, 1) not in (0, 1)
        upright = ImageOps.exif_transpose(image) if turned else image
    except Exception:  # a broken EXIF block does not spoil the pixels
        notes.append("EXIF unreadable")
        return image
    if turned:
        notes.append("turned upright by EXIF")
    return upright


def _eight_bit(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode -> one of 8 bits without transparency."""
    mode = image.mode
    if mode in ("RGB", "L"):
        if "transparency" not in image.info:
            return image
    elif mode != "1":
        notes.append(f"converted from mode {mode}")
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(image)))
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image


def _to_bytes(values: NDArray[np.generic]) -> Pixels:
    """Whole numbers of 16 bits by their full range; real numbers in 0..1 or 0..255."""
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 65535:
        raise BadPictureError(f"values from {low:g} to {high:g}; expected 0..1, 0..255 or 0..65535")
    real = values.dtype.kind == "f"
    top = 1.0 if real and high <= 1 else 255.0 if real and high <= 255 else 65535.0
    return np.asarray((numbers * (255 / top)).round(), dtype=np.uint8)


def _square(image: Image.Image, side: int, channels: int) -> Pixels:
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    if image.size != (side, side):
        box = (left, top, left + short, top + short)
        image = image.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8).reshape(side, side, channels)
