"""`convista pretrain`: features from pictures without labels."""

from __future__ import annotations

import json as json_text
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convista.cli.options import pretraining_options, typed
from convista.errors import InputError

if TYPE_CHECKING:
    from convista.tasks import Run

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("pretrain")(_pretrain)


@pretraining_options
def _pretrain(
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATA", help="Folder of pictures, with or without classes, .zip of one, or digits."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to start if any file is unusable.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write event files for TensorBoard into the run folder.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    context: typer.Context = None,  # type: ignore[assignment]  # typer fills it in
    **words: Any,
) -> None:
    """Learn features from pictures without labels; leaves a run folder for train --from."""
    from convista.feature_recipes import SelfRecipe

    if len(data or []) > 1:
        raise InputError(f"Learn from one folder of pictures at a time: {', '.join(map(str, data or []))} were given.")
    words = typed(context, words)
    own = {word: value for word, value in words.items() if word in SelfRecipe.__dataclass_fields__}
    SelfRecipe.of(**own)  # before anything heavy is loaded

    from convista.cli.console import job
    from convista.pretraining import pretrain

    words |= {"device": device, "strict": strict, "tensorboard": tensorboard}
    with job(shlex.join(["convista", *sys.argv[1:]])) as console:
        run = pretrain(data[0] if data else None, out=out, resume=resume, console=console, **words)
    if not int(os.environ.get("RANK", "0")):
        print(json_text.dumps(_summary(run)) if json else _told(run))


def _summary(run: Run) -> dict[str, Any]:
    info, last = run.info, run.history[-1]
    found = {"top1": info["test"]["top1"], "floor": info["test"]["floor"]["top1"]} if "test" in info else None
    return {
        "run": str(run.path),
        "method": info["pretrain"]["method"],
        "model": info["recipe"]["model"],
        "epochs": info["epochs"],
        "seconds": info["seconds"],
        "loss": last.train_loss,
        "knn": info.get("knn"),
        "probe": found,
        "floors": info.get("floors"),
        "bad_files": info["bad_files"],
        "report": str(run.path / "report.html"),
    }


def _told(run: Run) -> str:
    info, lines = run.info, [f"loss:  {run.history[-1].train_loss:.4f}"]
    if "knn" in info:
        random, pixels = info["floors"]["random"], info["floors"]["pixels"]
        lines = [
            f"kNN:   {info['knn']['test']:.3f} on test pictures (before learning {random['test']:.3f}, pixels "
            f"{pixels['test']:.3f})",
            f"probe: {info['test']['top1']:.3f} (before learning {random['probe']:.3f})",
        ]
    use = f"use:   convista train PICTURES --from {run.path}"
    return "\n".join([*lines, f"run:   {run.path}", f"page:  {run.path / 'report.html'}", use])
