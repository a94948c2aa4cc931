"""`convista shift`, and what `convista pick --from-data` prints."""

from __future__ import annotations

import json as json_text
import os
from typing import TYPE_CHECKING, Annotated

import typer

from convista.cli.tables import table

if TYPE_CHECKING:
    from convista.transfer import Ranking

__all__ = ["add_to", "ranking_text"]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("shift")(_shift)


def _shift(
    model: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A network's name, or a run folder.")],
    data: Annotated[str, typer.Argument(help="Folder with one folder per class, .zip of one, or digits.")],
    weights: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Weights of MODEL; the published ones if not given.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Measure the effect of adapting on at most so many pictures.")] = 2000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
) -> None:
    """Say how far pictures lie from a network's pretraining, and what adapting it to them changes."""
    from convista.cli.console import job
    from convista.transfer_verbs import shift

    with job("") as console:
        found = shift(model, data, weights=weights, limit=limit, device=device, console=console)
    print(json_text.dumps(found.to_json()) if json else found)


def ranking_text(found: Ranking) -> str:
    """The networks on the user's pictures, best first, and below them those that could not be tried."""
    head = ("", "network", "weights", "top-1", "image", "parameters", "MACs", "s")
    body = [
        (
            "*" if one.front else "", one.name, os.path.basename(one.weights or "its own"),  # noqa: PTH119  # or a name
            f"{one.top1:.3f} ± {one.error:.3f}", str(one.image), f"{one.params:,}", f"{one.macs:,}",
            f"{one.seconds:.2f}",
        )
        for one in found.networks
    ]  # fmt: skip
    lines = [found.note, "", table([head, *body], left=(0, 1, 2))]
    return "\n".join([*lines, *(f"not tried: {one.name}: {one.why.splitlines()[0]}" for one in found.left_out)])
