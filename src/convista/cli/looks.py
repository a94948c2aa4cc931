"""`convista augment`: what the network will see, before it is trained on it."""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from convista.errors import InputError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("augment")(_augment)


def _augment(
    data: Annotated[
        str | None, typer.Argument(help="Folder with one folder per class, .zip of one, or digits.")
    ] = None,
    augment: Annotated[
        str, typer.Option(help="none, light, strong, trivial, rand, or words: light,rotate=15.")
    ] = "light",
    crop: Annotated[bool, typer.Option(help="Random windows.")] = True,
    flip: Annotated[bool | None, typer.Option(help="Mirrors; off where they would change the class.")] = None,
    mixup: Annotated[float, typer.Option(help="Alpha of blending with another picture, such as 0.2.")] = 0.0,
    cutmix: Annotated[float, typer.Option(help="Alpha of putting in a part of another picture, such as 1.")] = 0.0,
    image: Annotated[
        int | None, typer.Option(help="Side that the network sees; the pictures' own, at most 224.")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for colour, which is usual.")] = None,
    model: Annotated[str | None, typer.Option(help="Side and channels as this network takes them.")] = None,
    pictures: Annotated[int, typer.Option(help="Rows of the sheet.")] = 8,
    epochs: Annotated[int, typer.Option(help="Columns of the sheet.")] = 8,
    seed: Annotated[int, typer.Option(help="The same as in training shows the same.")] = 0,
    words: Annotated[bool, typer.Option("--words", help="List the words that --augment knows.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The contact sheet.")] = Path("augment.png"),
) -> None:
    """Draw a contact sheet of what the network will see of pictures."""
    if words:
        print(_words())
        return
    if data is None:
        raise InputError("No pictures were given: name a folder with one folder per class, a .zip, or digits.")
    from convista.tasks.contact import Looks, contact_sheet

    looks = Looks(augment, crop, flip, mixup, cutmix, image, channels, model, pictures, epochs, seed)
    sheet = contact_sheet(data, looks, out)
    if json:
        print(json_text.dumps(asdict(sheet) | {"path": str(sheet.path)}))
    else:
        print(f"policy: {sheet.policy}\nsheet:  {sheet.path}")
        if sheet.note:
            print(sheet.note, file=sys.stderr)
        print(f"speed:  {sheet.pictures_per_second:,.0f} pictures/s of {sheet.image} pixels", file=sys.stderr)


def _words() -> str:
    from convista.data.policy import NAMED, WORDS

    lines = [f"{name:<13}{text or 'nothing'}" for name, text in NAMED.items()]
    for name, word in WORDS.items():
        amount = "" if word.amount is None else f" (={word.amount:g}; {word.least:g} to {word.most:g})"
        lines.append(f"{name:<13}{word.help}{amount}")
    return "\n".join(lines)
