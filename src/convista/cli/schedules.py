"""`convista schedule`: the learning rate's course, drawn before it is trained with."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import Annotated

import typer

from convista.errors import InputError, UnknownNameError
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
    warmup: Annotated[float, typer.Option(help="Epochs over which the rate rises from zero.")] = 1,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Also draw the curves.")] = None,
) -> None:
    """Draw the learning rate's course."""
    chosen = names or list(SCHEDULE_NAMES)
    for name in chosen:
        if name not in SCHEDULE_NAMES:
            raise UnknownNameError("schedule", name, SCHEDULE_NAMES)
    if epochs < 1 or not 0 <= warmup < float("inf") or not 0 < lr < float("inf"):
        raise InputError("A curve needs at least 1 epoch, a warm-up of at least 0, and a positive rate.")
    if out is not None and out.suffix.lower() != ".svg":
        raise InputError(f"--out {out} was given; expected a name that ends in .svg.")
    rates = {name: _rates(name, epochs, warmup, lr) for name in chosen}
    if json:
        print(json_text.dumps({"epochs": epochs, "warmup": warmup, "lr": lr, "rates": rates}))
    else:
        print("\n".join(_line(name, curve, lr) for name, curve in rates.items()))
        if "plateau" in rates:
            print("plateau: as drawn while the validation loss falls; a tenth whenever it has not for 5 epochs")
    if out is not None:
        from convista.files import write_atomically
        from convista.reports import rate_curves

        write_atomically(out, rate_curves(rates, epochs))
        print(f"drawn: {out}", file=sys.stderr)


def _rates(name: str, epochs: int, warmup: float, lr: float) -> list[float]:
    """The rate at a hundred steps of each epoch, by the very function that training asks."""
    from convista.training import rate

    steps = 100 * epochs
    rising = round(min(100 * warmup, steps / 4))
    return [lr * rate(name, step, steps, rising) for step in range(steps)]


def _line(name: str, rates: list[float], peak: float) -> str:
    """The curve as a row of bars."""
    picked = [rates[i * (len(rates) - 1) // (WIDTH - 1)] for i in range(WIDTH)]
    bars = "".join(BARS[round(rate / peak * (len(BARS) - 1))] for rate in picked)
    return f"{name:<12}{bars}  {rates[0]:.2g} … {max(rates):.2g} … {rates[-1]:.2g}"
