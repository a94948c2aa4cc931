"""`convista augment`: what the network will see, before it is trained on it."""

from __future__ import annotations

import json as json_text
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from convista.cli.options import options_of
from convista.errors import InputError
from convista.recipe import Looks

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("augment")(_augment)


@options_of(Looks)
def _augment(
    data: Annotated[
        str | None, typer.Argument(help="Folder with one folder per class, .zip of one, or digits.")
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="List the words that --augment knows.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    out: Annotated[
        Path, typer.Option(metavar="FILE.png", help="The contact sheet; a file of that name is replaced.")
    ] = Path("augment.png"),
    **looks: Any,
) -> None:
    """Draw a contact sheet of what the network will see of pictures."""
    if words:
        print(_words())
        return
    if data is None:
        raise InputError("No pictures were given: name a folder with one folder per class, a .zip, or digits.")
    from convista.verbs import augment

    there = os.path.lexists(out)
    sheet = augment(data, out=out, **looks)
    if json:
        print(json_text.dumps(asdict(sheet) | {"path": str(sheet.path)}))
    else:
        mixed = f"mixed:  {sheet.mixing}\n" if sheet.mixing else ""
        print(f"policy: {sheet.policy}\n{mixed}sheet:  {sheet.path}")
        if there:
            print(f"{sheet.path} was there already and was replaced.", file=sys.stderr)
        if sheet.note:
            print(sheet.note, file=sys.stderr)
        print(f"speed:  {sheet.pictures_per_second:,.0f} pictures/s of {sheet.image} pixels", file=sys.stderr)


def _words() -> str:
    from convista.data.policy import NAMED, WORDS

    lines = [f"{name:<13}{text or 'nothing'}" for name, text in NAMED.items()]
    for name, word in WORDS.items():
        amount = "" if word.amount is None else f" (={word.amount:g}; {word.least:g} to {word.most:g})"
        lines.append(f"{name:<13}{word.help}{amount}")
    lines.append("rand and trivial alone come behind crop,flip. --mixup and --cutmix are options beside --augment.")
    return "\n".join(lines)
