"""`convista neighbours` and `convista map`: pages of pictures that look alike to a network."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from convista.cli.options import options_of
from convista.feature_recipes import MapRecipe, NeighbourRecipe
from convista.files import check_page, shown

__all__ = ["add_to"]

Model = Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A network's name, or a run folder.")]
Weights = Annotated[
    str | None, typer.Option(metavar="FILE|NAME", help="Weights of MODEL; the published ones if not given.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
PICTURES = "Folder of pictures, with or without classes, .zip of one, .tar shards, or digits; a run's own if not given."


def add_to(app: typer.Typer) -> None:
    """Gives the command line these verbs."""
    app.command("neighbours")(_neighbours)
    app.command("map")(_map)


@options_of(NeighbourRecipe)
def _neighbours(
    model: Model,
    queries: Annotated[list[str], typer.Argument(metavar="QUERY…", help="Pictures: files, folders or patterns.")],
    data: Annotated[str | None, typer.Option(help=PICTURES)] = None,
    weights: Weights = None,
    json: Json = False,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page.")] = Path("neighbours.html"),
    **words: Any,
) -> None:
    """Show the pictures that look most alike to others, in the eyes of a network."""
    check_page(out)
    from convista.cli.console import job
    from convista.transfer_verbs import neighbours

    with job("") as console:
        found = neighbours(model, queries, data=data, weights=weights, out=out, console=console, **words)
    _warn(found.skipped)
    _warn(found.bad)
    if json:
        print(json_text.dumps({"out": str(out)} | found.to_json()))
    else:
        print(f"{found}\npage: {out}")


@options_of(MapRecipe)
def _map(
    model: Model,
    data: Annotated[str | None, typer.Argument(help=PICTURES)] = None,
    weights: Weights = None,
    json: Json = False,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page.")] = Path("map.html"),
    **words: Any,
) -> None:
    """Show a data set in the eyes of a network: a map, near-duplicates, leaks between splits, doubtful labels."""
    check_page(out)
    from convista.cli.console import job
    from convista.transfer_verbs import map as overview

    with job("") as console:
        found = overview(model, data, weights=weights, out=out, console=console, **words)
    _warn(found.bad)
    if json:
        print(json_text.dumps({"out": str(out)} | found.to_json()))
    else:
        print(f"{found}\npage: {out}")


def _warn(files: Iterable[Any]) -> None:
    for file in files:
        print(f"skipped {shown(file.path)}: {file.reason}", file=sys.stderr)
