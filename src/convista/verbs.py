"""The verbs of the front door as Python functions: the same names and words as on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convista.data import check_data
from convista.errors import InputError, UnknownNameError
from convista.files import check_parent, write_atomically
from convista.recipe import Looks, Recipe
from convista.records import Predictions, Score
from convista.reports import (
    Material,
    comparison_csv,
    comparison_page,
    health_drawing,
    health_page,
    loss_over_rate,
    pretraining_page,
    rate_curves,
    render,
)
from convista.see import first_filters
from convista.tasks import (
    Axes,
    Comparison,
    Patient,
    Place,
    Run,
    axis,
    compare_runs,
    examine,
    find_rate,
    is_sweep,
    parse_axes,
    planned,
    rateless,
    resume_classifier,
    resume_sweep,
    train_classifier,
    train_sweep,
)
from convista.tasks.axes import combinations
from convista.tasks.contact import Sheet, contact_sheet
from convista.tasks.run import Picture
from convista.tasks.sweep import FROM_SCRATCH, Way
from convista.training import SCHEDULES, Console, Diagnosis, Sweep, courses, joined
from convista.transfer import (
    Start,
    resume_from,
    start_of,
    sweep_start,
    train_from,
    tuned_recipe,
    way_from,
)

__all__ = [
    "augment",
    "compare",
    "doctor",
    "eval",
    "lr_find",
    "predict",
    "report",
    "schedule",
    "sweep",
    "train",
]

Folder = str | os.PathLike[str]
PLACE = {"device", "strict", "checkpoint_seconds", "tensorboard"}
VISIT = {"init", "zero_last", "image", "channels", "batch", "seed"}  # words of a recipe that the doctor asks about


def train(
    data: Folder | None = None,
    *,
    out: Folder | None = None,
    resume: Folder | None = None,
    recipe: Folder | None = None,
    from_: Folder | None = None,
    weights: Folder | None = None,
    adapt: str | None = None,
    console: Console | None = None,
    **words: Any,
) -> Run:
    """Trains a network on a folder of pictures, judges it and writes a run folder with a report.

    `data` is a folder with one folder per class (with or without `train/ val/ test/`), a `.zip` of one, WebDataset
    shards (`train-{000..003}.tar`, also behind http://), or "digits".
    `words` are those of the command line: what `Recipe` names (`model="resnet18", epochs=20, lr=…`), and `device`,
    `strict`, `checkpoint_seconds`, `tensorboard`. `recipe=FILE` takes words from a file of TOML or JSON, or from a run;
    those given here win. `resume=RUN` goes on with a run that was interrupted, bit for bit, and takes no word of the
    recipe. `from_` begins with a pretrained network: a name or a run, with the weights of `weights`, a file or a name
    (the published ones if not given): a head on kept features, and more where that pays; `adapt` fits the network to
    the pictures first: "pixels", "norms". `console` hears what happens. Raises an `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.train("digits", model="lenet5", epochs=1, out=tmp / "run")
    >>> run.test.floor["top1"] < run.test.top1
    True
    """
    begun = {k: str(v) for k, v in {"from_": from_, "weights": weights, "adapt": adapt}.items() if v is not None}
    if "from" in words:
        raise UnknownNameError("option", "from", ["from_"], "from_")
    console = console or Console(command=_as_call("train", data, out, recipe, words | begun))
    place = _place(data, out, resume, recipe, words)
    if from_ is not None and resume is not None:
        raise InputError(f"--from {os.fspath(from_)} was given beside --resume, which goes on as the run began.")
    given = set(words)
    words, axes = planned(recipe, words)
    start = start_of(from_, weights, adapt, recipe)
    beside = [word for word in ("unfreeze", "freeze_until") if words.get(word, "auto") not in ("auto", "")]
    if start is None and beside:
        raise InputError(f"{beside[0]}={words[beside[0]]} was given without --from: nothing here is pretrained.")
    if axes or (resume is not None and is_sweep(resume)):
        raise InputError("This is a sweep, many runs from one command: call convista.sweep with the same words.")
    with joined() as world:
        if resume is not None:
            learned = world.once(lambda: "from" in Run.load(resume).info)  # only the first process needs the folder
            go_on = resume_from if learned else resume_classifier
            run = go_on(resume, place, console, world)
        elif start is not None:
            run = train_from(
                os.fspath(data or ""), start, tuned_recipe(words, start.source, given), place, console, world
            )
        else:
            run = train_classifier(os.fspath(data or ""), Recipe.of(**words), place, console, world)
        if world.first:
            report(run)
    return run


def augment(data: Folder, augment: str = "light", *, out: Folder = "augment.png", **words: Any) -> Sheet:
    """Draws a contact sheet of what a network will see of pictures, and returns where it is and what the policy was.

    `augment` is `none`, `light`, `strong`, `trivial`, `rand` or words such as `light,rotate=15,hue=0.1@0.5`; `words`
    are those of `Looks`: `mixup`, `cutmix`, `crop`, `flip`, `image`, `channels`, `pictures`, `epochs`, `seed`. The same
    seed shows what training will see. Raises an `InputError` that says what to mend.

    >>> import convista
    >>> sheet = convista.augment("digits", "rotate=20", out=tmp / "sheet.png", channels=1)
    >>> sheet.policy, sheet.path.exists()
    ('rotate=20', True)
    """
    check_data(data)
    return contact_sheet(data, Looks.of(augment=augment, **words), Path(out))


def schedule(
    *names: str | Sequence[str], epochs: int = 20, warmup: float = 1, lr: float = 1.0, out: Folder | None = None
) -> dict[str, list[float]]:
    """The learning rate at a hundred steps of each epoch, by schedule; drawn into `out`, an .svg, if one is given.

    All schedules where none is named. Raises `UnknownNameError`, and `InputError` for numbers that make no curve.

    >>> import convista
    >>> rates = convista.schedule("cosine", epochs=10, warmup=1, lr=0.1)
    >>> len(rates["cosine"]), max(rates["cosine"])
    (1000, 0.1)
    """
    if out is not None and Path(out).suffix.lower() != ".svg":
        raise InputError(f"--out {os.fspath(out)} was given; expected a name that ends in .svg.")
    given: Any = names[0] if len(names) == 1 and isinstance(names[0], list | tuple) else names
    listed = list(given)
    if strange := [name for name in listed if not isinstance(name, str)]:
        raise InputError(
            f"A {type(strange[0]).__name__} was given as schedule; expected names: {', '.join(SCHEDULES)}."
        )
    rates = courses(listed, epochs, warmup, lr)
    if out is not None:
        write_atomically(Path(out), rate_curves(rates, epochs))
    return rates


def sweep(
    data: Folder | None = None,
    axes: Mapping[str, Iterable[Any]] | Iterable[str] | None = None,
    *,
    out: Folder | None = None,
    resume: Folder | None = None,
    recipe: Folder | None = None,
    from_: Folder | None = None,
    weights: Folder | None = None,
    adapt: str | None = None,
    console: Console | None = None,
    **words: Any,
) -> Comparison:
    """Trains every combination of the values that `axes` names, one after another, and compares the runs.

    `axes` is such as `{"lr": [1e-3, 3e-3], "seed": range(5)}` or `["lr=1e-3,3e-3", "seed=0..4"]`; a recipe's table
    `[sweep]` holds some, too. The other words are those of `train`, `from_`, `weights` and `adapt` among them; one with
    a list of values is an axis as well. Each run has its folder in that of the sweep; `resume=FOLDER` goes on with a
    sweep that was interrupted. A run that fails is noted and the others go on.

    >>> import convista
    >>> found = convista.sweep("digits", ["seed=0..1"], model="lenet5", epochs=1, out=tmp / "sweep")
    >>> found.settings[0].test["top1"].n
    2
    """
    console = console or Console(command=_as_call("sweep", data, out, recipe, words))
    place = _place(data, out, resume, recipe, words)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("A sweep trains in one process: start it without torchrun, or each of its runs with it.")
    if resume is not None:
        return resume_sweep(resume, place, console, _reported, _way(sweep_start(resume)))
    several = {word: values for word, values in words.items() if isinstance(values, list | tuple | range)}
    once = {word: value for word, value in words.items() if word not in several}
    words, found = planned(recipe, once, _axes(axes) | _axes(several))
    if not found:
        raise InputError("Nothing to sweep over was given; expected words with several values, such as seed=0..4.")
    start = start_of(from_, weights, adapt, recipe)
    if start is not None:
        for combination in combinations(words, found):
            tuned_recipe({**words, **combination}, start.source, {*once, *found})
    return train_sweep(os.fspath(data or ""), words, found, place, console, _reported, _way(start))


def compare(*runs: Run | Folder, out: Folder | None = None) -> Comparison:
    """Puts runs, and all runs of sweeps' folders, side by side: what differs, what they score, what they cost.

    Runs that differ in their seed only make one setting, with the mean and the sample standard deviation of its
    figures. `out` ends in `.html` for a page with the learning curves over each other, or in `.csv` for a table. Raises
    `RunError` for what is no run folder, is damaged, or is given twice.
    """
    pages = {".html": comparison_page, ".csv": comparison_csv}
    kind = None if out is None else Path(out).suffix.lower()
    if out is not None:
        check_parent(Path(out))
    if kind is not None and kind not in pages:
        raise InputError(f"--out {out} was given; expected a name that ends in .html or .csv.")
    found = compare_runs(run for given in runs for run in (given if isinstance(given, list | tuple) else [given]))
    if out is not None and kind is not None:
        write_atomically(Path(out), pages[kind](found))
    return found


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
    filters = first_filters(run.net)
    if run.verb == "pretrain":
        page = pretraining_page(run.info, run.history, run.cost, filters)
    else:
        mistakes = json.loads((run.path / "mistakes.json").read_text())
        page = render(Material(run.info, run.history, run.cost, run.test, run.val, filters, mistakes))
    write_atomically(run.path / "report.html", page)
    return run.path / "report.html"


def doctor(
    model: Patient,
    data: Any = None,
    *,
    raw: bool = False,
    device: str = "auto",
    out: Folder | None = None,
    **words: Any,
) -> Diagnosis:
    """Looks at a network before its first step, or at a run as it is in use, and says in words what is wrong.

    `model` is a name (`resnet18`, `timm:NAME`, `package.module:function`), a run folder, a `Spec` or any module, which
    is not changed. `data` is what `train` takes, or a batch of your own, (pictures (N, C, H, W), classes (N,)); where
    None, a run sees its own pictures, if they are still there, anything else noise. `words` are `init`, `zero_last`,
    `image`, `channels`, `batch` (32) and `seed`. `raw` does not normalise the pictures. `out` is a page (.html) or a
    drawing (.svg) to write.

    >>> import convista
    >>> found = convista.doctor("lenet5", "digits", init="zeros")
    >>> found.findings[0].code, found.findings[0].layer
    ('zero-weights', 'c1.conv')
    """
    draw = {".html": health_page, ".svg": health_drawing}
    if out is not None:
        check_parent(Path(out))
    if out is not None and Path(out).suffix.lower() not in draw:
        raise InputError(f"out={os.fspath(out)} was given; expected a name that ends in .html or .svg.")
    for word in words.keys() - VISIT:
        raise UnknownNameError("option", word, VISIT | {"raw", "device", "out"})
    if data is not None and not isinstance(data, tuple):
        check_data(data)
    found = examine(model, data, Recipe.of(**{"batch": 32} | words), raw, device)
    if out is not None:
        write_atomically(Path(out), draw[Path(out).suffix.lower()](found))
    return found


def lr_find(
    data: Folder,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    recipe: Folder | None = None,
    out: Folder | None = None,
    console: Console | None = None,
    **words: Any,
) -> Sweep:
    """Raises the learning rate from `lowest` to `highest` over `steps` steps and suggests one (Smith 2015).

    `words` are those of `train` but for `lr`: the sweep has the run's own network, pictures, optimiser and precision.
    `recipe` is a file or a run to take them from. It leaves no run folder. `out` is a drawing (.svg) to write.

    >>> import convista
    >>> found = convista.lr_find("digits", model="lenet5")
    >>> 1e-4 < found.lr < 0.1
    True
    """
    check_data(data)
    for word in ("unfreeze", "freeze_until", "lr_decay_per_stage"):
        if word in words:
            raise InputError(f"{word}={words[word]} was given; lr_find looks at training from the start, not --from.")
    if "lr" in words:
        raise InputError(f"lr={words['lr']} was given, but lr_find looks for it: leave it out.")
    if out is not None:
        check_parent(Path(out))
    if out is not None and Path(out).suffix.lower() != ".svg":
        raise InputError(f"out={os.fspath(out)} was given; expected a name that ends in .svg.")
    device = words.pop("device", "auto")
    asked = Recipe.of(**rateless(recipe, words))
    with joined() as world:
        found = find_rate(os.fspath(data), asked, (lowest, highest, steps), device, console or Console(), world)
        if out is not None and world.first:
            write_atomically(Path(out), loss_over_rate(found))
    return found


def _place(
    data: object, out: Folder | None, resume: Folder | None, recipe: Folder | None, words: dict[str, Any]
) -> Place:
    """Where to train, by words that are taken out of `words`. Raises `InputError` for what does not go together."""
    place = Place(None if out is None else Path(out), **{key: words.pop(key) for key in PLACE & words.keys()})
    if data is None and resume is None:
        raise InputError("Nothing to train on was given: name a folder with one folder per class, a .zip, or digits.")
    if data is not None and resume is not None:
        raise InputError("Pictures to train on and a run to resume were given, but not both can be done.")
    if data is not None:
        check_data(data)
    if place.checkpoint_seconds < 0:
        raise InputError(f"checkpoint_seconds={place.checkpoint_seconds} was given; it must be at least 0.")
    if resume is not None and (words or out is not None or recipe is not None or place.strict):
        raise InputError("A resumed run keeps its recipe and its folder: give no other option beside --resume.")
    return place


def _way(start: Start | None) -> Way:
    return FROM_SCRATCH if start is None else way_from(start)


def _axes(axes: Mapping[str, Iterable[Any]] | Iterable[str] | None) -> Axes:
    if isinstance(axes, Mapping):
        return {word: axis(word, values) for word, values in axes.items()}
    return parse_axes([axes] if isinstance(axes, str) else axes or [])


def _reported(run: Run) -> None:
    if not (run.path / "report.html").exists():
        report(run)


def _as_call(verb: str, data: object, out: Folder | None, recipe: Folder | None, words: dict[str, Any]) -> str:
    """The call as one would type it, for the report."""
    paths = {"out": out, "recipe": recipe}
    given = words | {name: str(path) for name, path in paths.items() if path is not None}
    first = os.fspath(data) if isinstance(data, os.PathLike) else data
    return f"convista.{verb}({', '.join([repr(first), *(f'{key}={value!r}' for key, value in given.items())])})"


def _opened(run: Run | Folder) -> Run:
    return run if isinstance(run, Run) else Run.load(run)
