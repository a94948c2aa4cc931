"""`convista schedule`: the learning rate's course, drawn before it is trained with."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import Annotated

import typer

from convista.recipe import SCHEDULE_NAMES

__all__ = ["add_to"]

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 60  # letters of a curve


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("schedule")(_schedule)


def _schedule(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="SCHEDULE…", help=f"{', '.join(SCHEDULE_NAMES)}; all if not given.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training pictures.")] = 20,
    warmup: Annotated[
        float, typer.Option(help="Epochs over which the rate rises from zero, at most a quarter of them.")
    ] = 1,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Also draw the curves.")] = None,
) -> None:
    """Draw the learning rate's course."""
    from convista.verbs import schedule

    rates = schedule(*names or SCHEDULE_NAMES, epochs=epochs, warmup=warmup, lr=lr, out=out)
    if json:
        print(json_text.dumps({"epochs": epochs, "warmup": warmup, "lr": lr, "rates": rates}))
    else:
        print("\n".join(_line(name, curve, lr) for name, curve in rates.items()))
        if "plateau" in rates:
            print("plateau: as drawn while the validation loss falls; a tenth whenever it has not for 5 epochs")
    if out is not None:
        print(f"drawn: {out}", file=sys.stderr)


def _line(name: str, rates: list[float], peak: float) -> str:
    """The curve as a row of bars."""
    picked = [rates[i * (len(rates) - 1) // (WIDTH - 1)] for i in range(WIDTH)]
    bars = "".join(BARS[round(rate / peak * (len(BARS) - 1))] for rate in picked)
    return f"{name:<12}{bars}  {rates[0]:.2g} … {max(rates):.2g} … {rates[-1]:.2g}"
