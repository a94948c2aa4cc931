"""A contact sheet: pictures as they are stored, and beside each what the network will see of it, epoch by epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from convista.data import (
    Augmentation,
    Batch,
    Mixing,
    Policy,
    centre,
    channel_statistics,
    for_classes,
    in_turn,
    mirrors_note,
    open_cache,
    open_source,
    prepare,
    read_policy,
    stored_side,
    user_cache,
    usual_side,
)
from convista.errors import InputError
from convista.files import check_parent, storage_error, write_atomically
from convista.models import spec
from convista.recipe import Looks
from convista.records import View

__all__ = ["Sheet", "contact_sheet"]

LARGEST = 224  # pixels a side, where pictures are larger
MOST = 1 << 27  # pixels on a sheet
TILE = 128  # at least so many pixels a side on the sheet
GAP, HEAD, LEFT, BELOW = 6, 26, 130, 26  # pixels between tiles, above them, for the classes' names, for captions
PAPER, INK, SOFT = (251, 250, 247), (27, 31, 36), (92, 102, 114)


@dataclass(frozen=True)
class Sheet:
    """A contact sheet that was written: the policy in full, how pictures are mixed (empty: not at all), a `note` where
    mirrors were left out, the side that the network sees, and pictures a second.
    """

    path: Path
    policy: str
    mixing: str
    note: str
    image: int
    pictures: int
    epochs: int
    pictures_per_second: float


def contact_sheet(data: str | os.PathLike[str], looks: Looks, out: Path) -> Sheet:
    """Draws it into `out` (.png or .jpg). Raises `InputError` for words that make no sense, `DataError` for data.

    Where pictures are mixed, below each stand its own share (lambda) and the other's class.
    """
    read_policy(looks.augment)
    _check(looks, out)
    own, source = None if looks.model is None else spec(looks.model), open_source(data)
    side = looks.image or (own.image if own else min(LARGEST, usual_side(source) or LARGEST))
    channels, stored = looks.channels or (own.channels if own else 3), stored_side(source, side)
    cache = open_cache((user_cache(),), stored, channels)
    found = prepare(source, stored, channels, looks.seed, cache)
    train = found.splits["train"]
    view = View(side, stored, channels, *channel_statistics(train))
    policy = for_classes(looks.augment, looks.crop, looks.flip, found.labels)
    augment = Augmentation(policy, view, looks.seed, Mixing(looks.mixup, looks.cutmix))
    chosen = in_turn(train.targets)[: looks.pictures]
    start = time.perf_counter()
    seen = [augment(train, chosen, epoch) for epoch in range(looks.epochs)]
    speed = len(chosen) * looks.epochs / (time.perf_counter() - start)
    pictures = [batch.pictures.permute(0, 2, 3, 1).numpy() for batch in seen]
    columns = [np.stack([centre(train[int(i)], view) for i in chosen]), *pictures]
    names = [found.labels[train.targets[i]] for i in chosen]
    captions = [[""] * len(chosen), *(_mixed(batch, found.labels) for batch in seen)] if augment.mixing else []
    image = _drawn(columns, names, _titles(found.name, policy, looks, side), captions)
    _write(image, out)
    return Sheet(
        out,
        str(policy),
        _mixing(looks),
        mirrors_note(looks.flip, policy, found.labels),
        side,
        len(chosen),
        looks.epochs,
        round(speed, 1),
    )


def _check(looks: Looks, out: Path) -> None:
    if looks.pictures * (looks.epochs + 1) * max(looks.image or LARGEST, TILE) ** 2 > MOST:
        raise InputError(
            f"{looks.pictures} pictures over {looks.epochs} epochs at {looks.image or LARGEST} pixels make too large a "
            "sheet. Ask for fewer pictures or epochs, or a smaller --image."
        )
    if looks.channels not in (None, 1, 3):
        raise InputError(f"channels={looks.channels} was given; pictures have 1 (grey) or 3 (colour).")
    check_parent(out)
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"--out {out} was given; expected a name that ends in .png or .jpg.")


def _mixing(looks: Looks) -> str:
    return ", ".join(f"{word} {getattr(looks, word):g}" for word in ("mixup", "cutmix") if getattr(looks, word))


def _mixed(batch: Batch, labels: Sequence[str]) -> list[str]:
    """Of each picture its own share, and the class of what was mixed in."""
    assert batch.partners is not None
    assert batch.shares is not None
    pairs = zip(batch.shares.tolist(), batch.partners.tolist(), strict=True)
    return [f"{share:.2f}, rest: {labels[partner]}" for share, partner in pairs]


def _titles(name: str, policy: Policy, looks: Looks, side: int) -> tuple[str, str]:
    """What is seen, and what was done to it."""
    larger = f", drawn {_scale(side)} times as large" if _scale(side) > 1 else ""
    mixing = f"; {_mixing(looks)} (below: own share, rest: the other's class)" if _mixing(looks) else ""
    return f"{name}, {side} x {side} pixels{larger}", f"{policy}{mixing}"


def _scale(side: int) -> int:
    """How many pixels of the sheet a pixel takes, along one side."""
    return max(1, -(-TILE // side))


def _drawn(
    columns: list[NDArray[np.uint8]], names: list[str], titles: tuple[str, str], captions: list[list[str]]
) -> Image.Image:
    side = columns[0].shape[1] * _scale(columns[0].shape[1])
    across, down = side + GAP, side + (BELOW if captions else GAP)
    small, large = ImageFont.load_default(13), ImageFont.load_default(16)
    width, first = LEFT + across * len(columns) + GAP, 3 * HEAD + 6
    sheet = Image.new("RGB", (width, first + down * len(names) + 6), PAPER)
    pen = ImageDraw.Draw(sheet)
    for title, line, ink, font in zip(titles, (8, HEAD + 6), (INK, SOFT), (large, small), strict=True):
        pen.text((12, line), _fitting(title, width - 24, font), ink, font)
    for c, column in enumerate(columns):
        x = LEFT + across * c
        pen.text((x, 2 * HEAD + 6), "centre" if c == 0 else f"epoch {c}", SOFT, small)
        for r, picture in enumerate(column):
            tile = Image.fromarray(picture.squeeze()).convert("RGB")
            tile = tile.resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(tile, (x, top := first + down * r))
            if captions:
                pen.text((x, top + side + 2), _fitting(captions[c][r], side, small), SOFT, small)
    for r, name in enumerate(names):
        pen.text((12, first + down * r + 4), _fitting(name, LEFT - 20, small), INK, small)
    return sheet


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut off where it would be wider than `width` pixels."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _write(image: Image.Image, out: Path) -> None:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "png" if out.suffix.lower() == ".png" else "jpeg", quality=92)
    try:
        write_atomically(out, buffer.getvalue())
    except OSError as error:
        raise storage_error(out, error) from None
