"""Many runs from one command: every combination of some words' values, one after another, in one folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convista.data import lasting_address, open_source, read_policy
from convista.errors import DataError, InputError, InterruptedRunError, RunError, StorageError, UnknownNameError
from convista.files import make_folder, storage_error, without_secrets
from convista.recipe import Recipe
from convista.tasks.axes import Axes, combinations, label
from convista.tasks.classify import resume_classifier, train_classifier
from convista.tasks.compare import Comparison, compare_runs
from convista.tasks.learning import Place
from convista.tasks.ledger import LEDGER, Ledger, folders
from convista.tasks.network import network_of
from convista.tasks.run import Run
from convista.training import Console, World, check_tensorboard

__all__ = ["FROM_SCRATCH", "Way", "is_sweep", "resume_sweep", "train_sweep"]

Finished = Callable[[Run], object]


@dataclass(frozen=True)
class Way:
    """How a run of a sweep is made: `train` and `resume` as `train_classifier` and `resume_classifier`; `check` raises
    `InputError` for a recipe that cannot be trained; `noted` is what the ledger keeps, to know the way again.
    """

    train: Callable[[str, Recipe, Place, Console, World], Run]
    resume: Callable[[str | os.PathLike[str], Place, Console, World], Run]
    check: Callable[[Recipe], object]
    noted: Mapping[str, Any] = field(default_factory=dict)


def _possible(recipe: Recipe) -> None:
    network_of(recipe, None, recipe.channels, recipe.image)
    read_policy(recipe.augment)


FROM_SCRATCH = Way(train_classifier, resume_classifier, _possible)


def is_sweep(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a sweep."""
    return (Path(path) / LEDGER).is_file()


def train_sweep(
    data: str,
    words: Mapping[str, Any],
    axes: Axes,
    place: Place,
    console: Console,
    finished: Finished,
    way: Way = FROM_SCRATCH,
) -> Comparison:
    """Trains every combination of the axes' values on top of `words`, each into its own run folder.

    All combinations are checked before the first is trained. `finished` hears of each run that came to its end. A run
    that fails is noted and the others go on. Raises `InputError` before anything is left, `InterruptedRunError` when
    asked to stop.
    """
    if place.tensorboard:
        check_tensorboard()
    runs = combinations(words, axes)
    _check(words, runs, way)
    name = open_source(data).name
    out = _free(place.out, Path("runs") / f"{name}-sweep")
    made = [folder for folder in (out, *out.parents) if not os.path.lexists(folder)]
    try:
        make_folder(out)
        ledger = Ledger(out, {}).update(
            data=lasting_address(data),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=without_secrets(console.command),
            device=place.device,
            strict=place.strict,
            tensorboard=place.tensorboard,
            recipe=dict(words),
            sweep={word: list(values) for word, values in axes.items()},
            runs=[{"folder": folder, "words": run} for folder, run in zip(folders(runs), runs, strict=True)],
            failed={},
            **way.noted,
        )
        return _go_through(ledger, place, console, finished, way)
    except BaseException:
        if not any(out.glob("*/run.json")):
            with suppress(OSError):
                (out / LEDGER).unlink()
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
        raise


def resume_sweep(
    path: str | os.PathLike[str], place: Place, console: Console, finished: Finished, way: Way = FROM_SCRATCH
) -> Comparison:
    """Goes on with a sweep: what is done or has failed is left, what is half done goes on, the rest is trained."""
    ledger = Ledger.load(Path(path))
    device = ledger.info.get("device", "auto") if place.device == "auto" else place.device
    board = place.tensorboard or bool(ledger.info.get("tensorboard"))
    place = replace(place, device=device, strict=bool(ledger.info.get("strict")), tensorboard=board)
    return _go_through(ledger, place, console, finished, way)


def _go_through(ledger: Ledger, place: Place, console: Console, finished: Finished, way: Way) -> Comparison:
    count = len(ledger.info["runs"])
    for number, entry in enumerate(ledger.info["runs"], 1):
        name = entry["folder"]
        if name in ledger.info["failed"] or _done(ledger.path / name, finished):
            continue
        said = f"run {number} of {count}, {label(entry['words'])}"
        try:
            if console.stopped():
                raise InterruptedRunError("Stopped before any training: give the same command again.")
            console.say(said)
            finished(_one(ledger, entry, replace(place, out=ledger.path / name), console, way))
        except InterruptedRunError as error:
            if not any(ledger.path.glob("*/run.json")):
                raise
            raise InterruptedRunError(
                f"Stopped in {said}, everything is saved. Go on with: convista train --resume {ledger.path}"
            ) from error
        except (DataError, RunError, StorageError):  # these would meet every run
            raise
        except InputError as error:
            ledger = ledger.fail(name, str(error))
            console.say(f"{said}: failed. {error}")
    return compare_runs([ledger.path])


def _one(ledger: Ledger, entry: dict[str, Any], place: Place, console: Console, way: Way) -> Run:
    folder = ledger.path / entry["folder"]
    if (folder / "run.json").is_file():
        return way.resume(folder, place, console, World())
    recipe = Recipe.of(**{**ledger.info["recipe"], **entry["words"]})
    return way.train(ledger.info["data"], recipe, place, console, World())


def _done(folder: Path, finished: Finished) -> bool:
    """Whether a run came to its end; `finished` hears of it again, for it may have been killed right then."""
    if not (folder / "run.json").is_file() or not (run := Run.load(folder)).done:
        return False
    finished(run)
    return True


def _check(words: Mapping[str, Any], runs: list[dict[str, Any]], way: Way) -> None:
    """Every network exists and takes pictures of its size, every augmentation can be read. Raises `InputError`."""
    seen = set()
    for run in runs:
        recipe = Recipe.of(**{**words, **run})
        asked: tuple[Any, ...] = (recipe.model, recipe.what_if, recipe.image, recipe.channels, recipe.augment)
        asked += (recipe.freeze_until, recipe.unfreeze)
        if asked in seen:
            continue
        seen.add(asked)
        try:
            way.check(recipe)
        except UnknownNameError:
            raise
        except InputError as error:
            raise InputError(f"The sweep's run {label(run)}: {error}") from None


def _free(out: Path | None, base: Path) -> Path:
    """The folder asked for, which must be empty or not there; else `base`, `base-2`, …, the first that is free."""
    if out is None:
        number = 1
        while (folder := base if number == 1 else base.with_name(f"{base.name}-{number}")).exists():
            number += 1
        return folder
    try:
        held = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    except OSError as error:
        raise storage_error(out, error) from None
    if held:
        hint = f"Go on with: convista train --resume {out}" if LEDGER in held else "Choose another --out."
        raise RunError(f"The output folder {out} is not empty. {hint}")
    return out
