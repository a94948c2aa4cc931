"""One option of a command for each word of a record, so that a word is written down once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, get_type_hints

import typer

from convista.catalogue import catalogue
from convista.errors import UnknownNameError
from convista.feature_recipes import SelfRecipe
from convista.recipe import Recipe, check_words

__all__ = ["checked", "option", "options_of", "pretraining_options", "recipe_options", "typed"]


def option(help: str, default: Any = None, choices: tuple[str, ...] = ()) -> Any:  # noqa: A002
    """A field of a record whose words are options of a command."""
    return field(default=default, metadata={"help": help, "choices": choices})


def typed(context: typer.Context, words: dict[str, Any]) -> dict[str, Any]:
    """Those of the words that stand on the command line; the others have their defaults from elsewhere."""
    sources = {name: context.get_parameter_source(name) for name in words}
    return {name: words[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def checked(words: dict[str, Any]) -> dict[str, Any]:
    """The same words of a recipe; what is misspelt in them is refused here, before torch is loaded."""
    known = {f.name for f in fields(Recipe)}
    check_words({name: value for name, value in words.items() if name in known})
    model = words.get("model")
    if model is not None and ":" not in model and model not in catalogue():
        raise UnknownNameError("network", model, catalogue())
    return words


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces the `**words` of a command by the recipe's words, and one more, with their defaults and help."""
    return options_of(Recipe, _checkpoint_seconds())(command)


def pretraining_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same with the words of learning without labels."""
    return options_of(SelfRecipe, _checkpoint_seconds())(command)


def _checkpoint_seconds() -> inspect.Parameter:
    rules = {"help": "Seconds between two checkpoints within an epoch.", "choices": ()}
    return _parameter("checkpoint_seconds", float, 30.0, rules)


def options_of(record: type, *more: inspect.Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replaces the `**words` of a command by the fields of a dataclass, whose metadata hold `help` and `choices`."""
    return lambda command: _with_words(command, record, more)


def _with_words(command: Callable[..., None], record: type, more: tuple[inspect.Parameter, ...]) -> Callable[..., None]:
    hints = get_type_hints(command, include_extras=True)
    own = [
        p.replace(annotation=hints[p.name])
        for p in inspect.signature(command).parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    types = get_type_hints(record)
    words = [*(_parameter(f.name, types[f.name], f.default, f.metadata) for f in fields(record)), *more]
    first, rest = own[:1], own[1:]

    def wrapper(**given: Any) -> None:
        command(**given)

    wrapper.__doc__ = command.__doc__

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*first, *words, *rest)]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _parameter(name: str, kind: Any, default: Any, metadata: Any) -> inspect.Parameter:
    choices = f" ({', '.join(metadata['choices'])})" if metadata["choices"] else ""
    option = typer.Option(default, help=metadata["help"] + choices)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)
