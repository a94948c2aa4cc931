"""`convista doctor` and `convista lr-find`: what is wrong before training, and which rate to train with."""

from __future__ import annotations

import json as json_text
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from convista.cli.options import checked, option, options_of, typed
from convista.recipe import INIT_NAMES, Recipe

__all__ = ["add_to"]

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


@dataclass(frozen=True)
class Visit:
    """How a network is shown to the doctor."""

    init: str | None = option("Initial weights; the network's own if not given.", None, INIT_NAMES)
    zero_last: bool = option("Every residual branch starts at zero.", False)
    image: int | None = option("Side of the pictures in pixels; the network's own if not given.")
    channels: int | None = option("1 for grey, 3 for colour; the network's own if not given.")
    batch: int = option("Pictures that are looked at.", 32)
    raw: bool = option("Do not normalise the pictures: show their bytes.", False)
    seed: int = option("Decides the weights and which pictures are drawn.", 0)


def add_to(app: typer.Typer) -> None:
    """Gives the command line these verbs."""
    app.command("doctor")(_doctor)
    app.command("lr-find")(_lr_find)


@options_of(Visit)
def _doctor(
    model: Annotated[
        str, typer.Argument(metavar="MODEL|RUN", help="A name, timm:NAME, module:function, a run folder.")
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Folder with one folder per class, .zip of one, or digits; if not given a run's own, else noise."
        ),
    ] = None,
    device: Device = "auto",
    json: Json = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page (.html) or drawing (.svg).")
    ] = None,
    **visit: Any,
) -> None:
    """Look at activations and gradients of every layer before training, and say in words what is wrong."""
    checked({name: visit[name] for name in ("init", "image", "channels", "batch", "seed")})
    from convista.verbs import doctor

    found = doctor(model, data, device=device, out=out, **visit)
    print(json_text.dumps(found.to_json()) if json else found)
    if out is not None:
        print(f"written: {out}", file=sys.stderr)


@options_of(Recipe)
def _lr_find(
    data: Annotated[str, typer.Argument(help="Folder with one folder per class, .zip of one, or digits.")],
    lowest: Annotated[float, typer.Option(help="Rate of the first step.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Rate of the last step.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Steps of the sweep.")] = 100,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take words from a TOML or JSON file, or from a run, but no rate; words given here win.",
        ),
    ] = None,
    device: Device = "auto",
    json: Json = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Also draw the curve.")] = None,
    context: typer.Context = None,  # type: ignore[assignment]  # typer fills it in
    **words: Any,
) -> None:
    """Find a learning rate: raise it step by step with the run's own network, pictures and optimizer."""
    words = ({"recipe": recipe} if recipe else {}) | checked(typed(context, words))
    from convista.cli.console import job
    from convista.training.state import figure
    from convista.verbs import lr_find

    with job("") as console:
        found = lr_find(
            data, lowest=lowest, highest=highest, steps=steps, device=device, out=out, console=console, **words
        )
    if int(os.environ.get("RANK", "0")):
        return
    if json:
        print(json_text.dumps(found.to_json()))
        return
    print(found)
    if found.lr is not None:
        print(f"use it: {_train_with(data, words)} --lr {figure(found.lr, 2)}")
    if out is not None:
        print(f"drawn: {out}", file=sys.stderr)


def _train_with(data: str, words: dict[str, Any]) -> str:
    """The command that trains with the same words."""
    parts = ["convista", "train", data]
    for name, value in words.items():
        option = name.replace("_", "-")
        parts += (
            [f"--{option}" if value else f"--no-{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]
        )
    return shlex.join(parts)
