"""Two hundred hostile files, each with the reason that it should be refused with, or None where it should work."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from conftest import picture


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb_png(side: int) -> bytes:
    """A PNG whose header promises `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "jpeg", exif=exif)


def kinds(seed: int) -> dict[str, tuple[bytes, str | None]]:
    """One file of each kind: its bytes, and a part of the reason (None: it is usable)."""
    image = picture(seed, seed, (48, 40))
    jpeg, png = encoded(image, "jpeg"), encoded(image, "png")
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    real = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    negative = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) - 300)
    frames = [picture(seed, seed + i, (48, 40)).convert("P") for i in range(3)]
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated or damaged"),
        "truncated.png": (png[: len(png) // 2], "truncated or damaged"),
        "cut_header.png": (png[:20], "truncated or damaged"),
        "empty.jpg": (b"", "empty file (0 bytes)"),
        "text.jpg": (b"this is no picture, whatever its name says", "not a picture"),
        "page.png": (b"<!doctype html><title>404</title>", "not a picture"),
        "bomb.png": (bomb_png(30_000), "too many pixels"),
        "dot.png": (encoded(picture(seed, seed, (1, 1)), "png"), "too small (1x1 pixels"),
        "line.png": (encoded(picture(seed, seed, (64, 2)), "png"), "too small (64x2 pixels"),
        "negative.tif": (encoded(negative, "tiff"), "values from"),
        "png_called.jpg": (encoded(picture(seed, seed + 1), "png"), None),
        "jpeg_called.png": (encoded(picture(seed, seed + 2), "jpeg"), None),
        "grey.jpg": (encoded(image.convert("L"), "jpeg"), None),
        "grey_alpha.png": (encoded(image.convert("LA"), "png"), None),
        "palette.png": (encoded(image.convert("P"), "png"), None),
        "palette_hole.png": (encoded(image.convert("P"), "png", transparency=0), None),
        "alpha.png": (encoded(image.convert("RGBA"), "png"), None),
        "ink.jpg": (encoded(image.convert("CMYK"), "jpeg"), None),
        "deep.png": (encoded(deep, "png"), None),
        "bits.png": (encoded(image.convert("1"), "png"), None),
        "real.tif": (encoded(real, "tiff"), None),
        "moving.gif": (encoded(frames[0], "gif", save_all=True, append_images=frames[1:]), None),
        "moving.webp": (encoded(image, "webp", save_all=True, append_images=[f.convert("RGB") for f in frames]), None),
        "sideways.jpg": (rotated(picture(seed, seed + 3)), None),
        "bad_exif.jpg": (encoded(picture(seed, seed + 4), "jpeg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), None),
        "long.png": (encoded(picture(seed, seed, (3000, 5)), "png"), None),
        "ünïcode, comma.png": (encoded(picture(seed, seed + 5), "png"), None),
    }


def make_hostile(root: Path, classes: tuple[str, ...] = ("red", "green", "blue"), rounds: int = 3) -> dict[str, str]:
    """Writes `rounds` files of each kind into each class. Returns what must be refused: path -> part of its reason."""
    refused: dict[str, str] = {}
    for hue, label in enumerate(classes):
        folder = root / label
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(rounds):
            for name, (data, reason) in kinds(hue + 3 * (7 + 20 * i)).items():
                path = folder / f"hostile{i}_{name}"
                path.write_bytes(data)
                if reason:
                    refused[path.relative_to(root).as_posix()] = reason
        (folder / "gone.png").symlink_to("nowhere.png")
        refused[f"{label}/gone.png"] = "broken link"
        os.mkfifo(folder / "pipe.png")
        refused[f"{label}/pipe.png"] = "not a regular file"
        (folder / ".DS_Store").write_bytes(b"litter")
    (root / "notes.txt").write_text("not in a class")
    refused["notes.txt"] = "outside any class folder"
    return refused
