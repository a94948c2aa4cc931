"""The verbs of the front door as Python functions: the same names and words as on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convista.errors import InputError
from convista.files import write_atomically
from convista.records import Predictions, Recipe, Score
from convista.reports import Material, render
from convista.see import first_filters
from convista.tasks import Place, Run, read_recipe, resume_classifier, train_classifier
from convista.tasks.run import Picture
from convista.training import Console, joined

__all__ = ["eval", "predict", "report", "train"]

Folder = str | os.PathLike[str]
PLACE = {"device", "strict", "checkpoint_seconds"}


def train(
    data: Folder | None = None,
    *,
    out: Folder | None = None,
    resume: Folder | None = None,
    recipe: Folder | None = None,
    console: Console | None = None,
    **words: Any,
) -> Run:
    """Trains a network on a folder of pictures, judges it and writes a run folder with a report.

    `data` is a folder with one folder per class (with or without `train/ val/ test/`), a `.zip` of one, or "digits".
    `words` are those of the command line: what `Recipe` names (`model="resnet18", epochs=20, lr=…`), and `device`,
    `strict`, `checkpoint_seconds`. `recipe=FILE` takes words from a file of TOML or JSON, or from a run; those given
    here win. `resume=RUN` goes on with a run that was interrupted, bit for bit, and takes no word
    of the recipe. `console` hears what happens. Raises an `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.train("digits", model="lenet5", epochs=1, out=tmp / "run")
    >>> run.test.floor["top1"] < run.test.top1
    True
    """
    console = console or Console(command=_as_call(data, out, recipe, words))
    place = Place(None if out is None else Path(out), **{key: words.pop(key) for key in PLACE & words.keys()})
    if data is None and resume is None:
        raise InputError("Nothing to train on was given: name a folder with one folder per class, a .zip, or digits.")
    if data is not None and resume is not None:
        raise InputError("Pictures to train on and a run to resume were given, but not both can be done.")
    if not isinstance(data, str | os.PathLike | None):
        raise InputError(
            f"A {type(data).__name__} was given as data; expected the path of a folder or .zip, or 'digits'."
        )
    if place.checkpoint_seconds < 0:
        raise InputError(f"checkpoint_seconds={place.checkpoint_seconds} was given; it must be at least 0.")
    if resume is not None and (words or out is not None or recipe is not None or place.strict):
        raise InputError("A resumed run keeps its recipe and its folder: give no other option beside --resume.")
    words = _from_file(recipe, words)
    with joined() as world:
        if resume is not None:
            run = resume_classifier(resume, place, console, world)
        else:
            run = train_classifier(os.fspath(data or ""), Recipe.of(**words), place, console, world)
        if world.first:
            report(run)
    return run


def predict(run: Run | Folder, images: Picture | Iterable[Picture], *, device: str = "auto") -> Predictions:
    """Names what is in each picture; see `Run.predict`."""
    return _opened(run).predict(images, device)


def eval(run: Run | Folder, data: Folder | None = None, *, device: str = "auto") -> Score:  # noqa: A001  # the verb's name
    """Judges a run on other pictures (or its own test split); see `Run.evaluate`."""
    return _opened(run).evaluate(data, device)[0]


def report(run: Run | Folder) -> Path:
    """Writes `report.html` into a run folder and returns its path. Raises `RunError` for an unfinished run."""
    run = _opened(run)
    run.require_done()
    mistakes = json.loads((run.path / "mistakes.json").read_text())
    filters = first_filters(run.net)
    page = render(Material(run.info, run.history, run.cost, run.test, run.val, filters, mistakes))
    write_atomically(run.path / "report.html", page)
    return run.path / "report.html"


def _from_file(recipe: Folder | None, words: dict[str, Any]) -> dict[str, Any]:
    """The words of a recipe file, under those given. Raises `InputError` where it holds a sweep."""
    if recipe is None:
        return words
    plan = read_recipe(recipe)
    swept = [word for word in plan.sweep if word not in words]
    if swept:
        raise InputError(f"The recipe {recipe} sweeps over {', '.join(swept)}: call convista.sweep, or give a value.")
    return plan.words | words


def _as_call(data: object, out: Folder | None, recipe: Folder | None, words: dict[str, Any]) -> str:
    """The call as one would type it, for the report."""
    paths = {"out": out, "recipe": recipe}
    given = words | {name: os.fspath(path) for name, path in paths.items() if path is not None}
    first = os.fspath(data) if isinstance(data, os.PathLike) else data
    return f"convista.train({', '.join([repr(first), *(f'{key}={value!r}' for key, value in given.items())])})"


def _opened(run: Run | Folder) -> Run:
    return run if isinstance(run, Run) else Run.load(run)
