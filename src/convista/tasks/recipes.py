"""A recipe file: the words of the command line, as TOML with comments or as JSON; a run's `run.json` is one too."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from convista.errors import InputError
from convista.files import shown
from convista.recipe import Recipe
from convista.tasks.axes import Axes, axis, combinations

__all__ = ["Plan", "planned", "rateless", "read_recipe"]

PLACE = ("out", "resume", "recipe", "device", "strict", "checkpoint_seconds", "tensorboard", "json")
RECORDS = ("run.json", "sweep.json")  # files that hold a recipe among other things


@dataclass(frozen=True)
class Plan:
    """What a recipe file holds: words of `Recipe`, and for some words several values that are tried in turn."""

    words: dict[str, Any]
    sweep: Axes


def read_recipe(path: str | os.PathLike[str]) -> Plan:
    """Reads a recipe from TOML, JSON, a `run.json` or a run folder; hyphens and underscores are alike.

    Of a run every word comes back as it was decided, the learning rate too. A model of your own, `module:function`, may
    lie in the recipe's folder or in one around it. Raises `InputError` that names the file and
    the word for what is not there, cannot be read, or makes no sense.
    """
    file = _file(Path(path))
    name = shown(str(file))
    content = _parsed(file, name)
    if file.name in RECORDS or isinstance(content.get("recipe"), dict):
        content = {"sweep": content.get("sweep", {})} | _table(content.get("recipe"), "recipe", name)
    words = _plain(content, name)
    lists = _plain(_table(words.pop("sweep", {}), "sweep", name), name)
    _refuse_others((*words, *lists), name)
    twice = next((word for word in lists if word in words), None)
    if twice:
        raise InputError(f"The recipe {name} gives {twice} both once and in its [sweep]; give it in one place.")
    if not words and not lists:
        raise InputError(
            f'The recipe {name} is empty: it holds no words. Expected some such as model = "resnet18" and epochs = 20, '
            "and under [sweep] words with several values."
        )
    _reach(file, [words.get("model"), *_several(lists.get("model"))])
    try:
        plan = Plan(words, {word: axis(word, values) for word, values in lists.items()})
        combinations(plan.words, plan.sweep)
    except InputError as error:
        raise InputError(f"The recipe {name}: {error}") from None
    return plan


def planned(
    recipe: str | os.PathLike[str] | None, words: dict[str, Any], axes: Axes | None = None
) -> tuple[dict[str, Any], Axes]:
    """Words and axes of a recipe file, under those given. Raises what `read_recipe` raises."""
    axes = axes or {}
    if recipe is None:
        return words, axes
    if not isinstance(recipe, str | os.PathLike):
        raise InputError(
            f"A {type(recipe).__name__} was given as recipe; expected the path of a TOML or JSON file or of a run. "
            "In Python words need no file: convista.train(data, **words)."
        )
    plan, given = read_recipe(recipe), {*words, *axes}
    once = {word: value for word, value in plan.words.items() if word not in given}
    return once | words, {word: values for word, values in plan.sweep.items() if word not in given} | axes


def rateless(recipe: str | os.PathLike[str] | None, words: dict[str, Any]) -> dict[str, Any]:
    """The words of a recipe file under those given, but for the rate. Raises `InputError` where it sweeps over others.

    Only the rate of a file is left out: one that is given is refused by who looks for it.
    """
    found, axes = planned(recipe, words)
    if others := [word for word in axes if word != "lr"]:
        raise InputError(f"The recipe {recipe} sweeps over {others[0]}: give one value of it, --{others[0]} VALUE.")
    return {word: value for word, value in found.items() if word != "lr"}


def _several(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list) else [values]


def _reach(file: Path, models: list[Any]) -> None:
    """Lets `module:function` be found in the recipe's folder and in those around it, behind where one works."""
    for model in models:
        module, colon, _ = model.partition(":") if isinstance(model, str) else ("", "", "")
        if not colon or module in ("timm", "torchvision"):
            continue
        part = Path(*module.split("."))
        for folder in file.absolute().parents:
            if (folder / part).with_suffix(".py").is_file() or (folder / part / "__init__.py").is_file():
                if str(folder) not in sys.path:
                    sys.path.append(str(folder))
                break


def _file(path: Path) -> Path:
    """The file itself, or the record in a run folder or a folder of a sweep."""
    if not path.is_dir():
        return path
    found = next((path / record for record in RECORDS if (path / record).is_file()), None)
    if found is None:
        raise InputError(
            f"The recipe {shown(str(path))} is a folder without run.json. Expected a TOML or JSON file or a run folder."
        )
    return found


def _parsed(file: Path, name: str) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        as_json = file.suffix.lower() == ".json" or text.lstrip().startswith("{")
        content = json.loads(text, object_pairs_hook=_once) if as_json else tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"There is no recipe {name}. Expected a TOML or JSON file or a run folder.") from None
    except OSError as error:
        raise InputError(f"The recipe {name} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except (ValueError, RecursionError) as error:  # of TOML, of JSON, of text
        raise InputError(
            f"The recipe {name} is neither TOML nor JSON: {error}. Expected lines such as: epochs = 20"
        ) from None
    return _table(content, "", name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a word come twice and forgets the first; TOML refuses it, and so do we."""
    words = dict(pairs)
    if len(words) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return words


def _table(content: Any, word: str, name: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"The recipe {name} has no words{f' under {word!r}' * bool(word)}: got {content!r:.60}.")
    return content


def _plain(words: dict[str, Any], name: str) -> dict[str, Any]:
    """Words with underscores. Raises `InputError` where a word comes in both spellings."""
    plain = {word.replace("-", "_"): value for word, value in words.items()}
    twice = next((word for word in words if "-" in word and word.replace("-", "_") in words), None)
    if twice:
        raise InputError(f"The recipe {name} gives {twice} twice, with a hyphen and with an underscore.")
    return plain


def _refuse_others(words: tuple[str, ...], name: str) -> None:
    """Words of the command line that say where, not how."""
    known = {f.name for f in fields(Recipe)}
    for word in words:
        if word == "data":
            raise InputError(
                f"The recipe {name} names data; a recipe holds none, for the pictures lie elsewhere on every machine. "
                f"Give them beside it: convista train DATA --recipe {name}"
            )
        if word in PLACE and word not in known:
            raise InputError(f"The recipe {name}: {word} says where a network is trained, not how; give it beside it.")
