"""Many runs at the command line: `train … --sweep` and `compare`."""

from __future__ import annotations

import json as json_text
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convista.cli.tables import table
from convista.errors import InputError
from convista.files import shown
from convista.recipe import Recipe

if TYPE_CHECKING:
    from convista.tasks import Comparison

__all__ = ["add_to", "put_sweep", "sorted_out", "sweeps"]


def add_to(app: typer.Typer) -> None:
    """Gives the command line this verb."""
    app.command("compare")(_compare)


def sorted_out(positional: Sequence[str], sweep: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """The data and the sweep's axes: behind `--sweep` more of them may follow as words of their own.

    >>> sorted_out(["digits", "seed=0..4"], ["lr=1e-3,3e-3"])
    ('digits', ['lr=1e-3,3e-3', 'seed=0..4'])
    """
    known = {f.name for f in fields(Recipe)}
    more = [word for word in positional if "=" in word and word.partition("=")[0].replace("-", "_") in known]
    data = [word for word in positional if word not in more] if sweep else list(positional)
    if len(data) > 1:
        hint = f" To sweep over values, say: --sweep {more[0]}" if more and not sweep else ""
        given = ", ".join(map(shown, data[:3])) + (", …" if len(data) > 3 else "")
        quotes = " Put a pattern in quotes: 'train-{000..003}.tar', 'shards/*.tar'." if data[0].endswith(".tar") else ""
        raise InputError(f"Train on one folder of pictures at a time: {given} were given.{hint}{quotes}")
    return (data[0] if data else None), [*(sweep or []), *(more if sweep else [])]


def sweeps(axes: Sequence[str], resume: Path | None, recipe: Path | None, words: dict[str, Any]) -> bool:
    """Whether many runs are asked for: by axes, by a sweep's folder, or by a recipe that holds a sweep."""
    from convista.tasks import is_sweep, read_recipe

    if axes and resume is not None:
        raise InputError("A resumed sweep keeps its axes: give no --sweep beside --resume.")
    if axes or (resume is not None and is_sweep(resume)):
        return True
    return recipe is not None and resume is None and bool(read_recipe(recipe).sweep.keys() - words.keys())


def put_sweep(found: Comparison, json: bool) -> None:
    """Prints what a sweep has found: a row for each setting."""
    folder = Path(found.runs[0].path).parent
    if json:
        print(json_text.dumps({"sweep": str(folder)} | found.to_json()))
        return
    print(_settings(found))
    page = shlex.join(["convista", "compare", str(folder), "--out", str(folder / "compare.html")])
    print(f"sweep: {folder}\npage:  {page}")


def _compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders, or folders of runs and sweeps.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page (.html) with curves, or a table (.csv).")
    ] = None,
) -> None:
    """Put runs side by side: what differs, scores with mean and spread over seeds, price."""
    from convista.verbs import compare

    found = compare(*runs, out=out)
    if json:
        print(json_text.dumps(found.to_json()))
    elif len(found.settings) < len(found.runs) or any(setting.others for setting in found.settings):
        print(f"{_runs(found)}\n\n{_settings(found)}")
    else:
        print("\n".join([_runs(found), *_remarks(found)]))
    if out is not None:
        print(f"written: {out}", file=sys.stderr)


def _runs(found: Comparison) -> str:
    """A row for each run, or a column, whichever is narrower."""
    from convista.reports import comparison_rows

    rows = [list(map(shown, row)) for row in comparison_rows(found)]
    tables = [table(turned, left=[0]) for turned in (rows, list(zip(*rows, strict=True)))]
    return min(tables, key=lambda text: max(map(len, text.splitlines())))


def _settings(found: Comparison) -> str:
    from convista.reports import setting_rows

    rows = setting_rows(found)
    names = rows[0].index("n")
    others = [shown(other) for setting in found.settings for other in setting.others]
    return "\n".join([table([list(map(shown, row)) for row in rows], left=range(names)), *others, *_remarks(found)])


def _remarks(found: Comparison) -> list[str]:
    return [*(f"Warning: {shown(warning)}" for warning in found.warnings), *map(shown, found.notes)]
