"""`convista features`: the feature vectors of pictures by a pretrained network, in a file."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from convista.cli.options import options_of
from convista.errors import InputError
from convista.feature_recipes import FeatureRecipe
from convista.files import shown

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("features")(_features)


@options_of(FeatureRecipe)
def _features(
    model: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A network's name, or a run folder.")],
    data: Annotated[str, typer.Argument(help="Folder of pictures, with or without classes, .zip of one, or digits.")],
    weights: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Weights of MODEL; the published ones if not given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER|FILE", help="A folder, or a file that ends in .npz or .parquet.")
    ] = Path("features.npz"),
    on: Annotated[str | None, typer.Option(metavar="ray", help="Spread the work over a Ray cluster.")] = None,
    **words: Any,
) -> None:
    """Compute the features of pictures, once: they are kept, and found again as long as nothing has changed."""
    from convista.cli.console import job

    if on not in (None, "ray"):
        raise InputError(f"--on {on} was given; expected ray, or nothing for this process.")
    from convista.transfer import check_out, ray_features, written
    from convista.transfer_verbs import features

    check_out(out)
    compute = ray_features if on else features
    with job("") as console:
        found = compute(model, data, weights=weights, console=console, **words)
    file = written(found, out)
    for bad in found.bad:
        print(f"skipped {shown(bad.path)}: {bad.reason}", file=sys.stderr)
    if json:
        told = {"out": str(file), "pictures": len(found.paths), "shape": list(found.kept.shape)}
        print(json_text.dumps(told | {name: getattr(found, name) for name in ("computed", "reused", "seconds")}))
    else:
        print(f"{found}\nwritten: {file}")
