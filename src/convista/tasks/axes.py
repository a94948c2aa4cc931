"""What a sweep goes through: for some words of a recipe several values each."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from convista.errors import InputError, UnknownNameError
from convista.recipe import Recipe
from convista.words import KINDS, bare

__all__ = ["Axes", "axis", "combinations", "label", "parse_axes"]

Axes = dict[str, tuple[Any, ...]]
MOST = 1000  # runs of a sweep
BLANKS = re.compile(r"\s*([,;=])\s*")  # around what stands between values
RANGE = re.compile(r"([+-]?\d+)\.\.([+-]?\d+)")
YES_NO = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse_axes(texts: Iterable[str]) -> Axes:
    """Axes from words as one types them; several may stand in one text.

    >>> parse_axes(["lr=1e-3, 3e-3 seed=0..2"])
    {'lr': (0.001, 0.003), 'seed': (0, 1, 2)}
    """
    found: Axes = {}
    for part in (part for text in texts for part in BLANKS.sub(r"\1", text).split()):
        word, equals, values = part.partition("=")
        word = word.lstrip("-").replace("-", "_")
        if not equals or not values:
            raise InputError(f"--sweep {part} was given; expected a word and its values, such as lr=1e-3,3e-3.")
        if word in found:
            raise InputError(f"--sweep {part} was given, but {word} is swept already.")
        found[word] = axis(word, values)
    return found


def axis(word: str, values: Any) -> tuple[Any, ...]:
    """The values of a word: a list of them, or a text such as `1e-3,3e-3` or `0..4` (both ends count).

    Values of `augment`, which hold commas, stand between semicolons: `light;light,rotate=15`.

    Raises `InputError` for an unknown word, and for values that are none, not of its kind, or come twice.
    """
    types = {f.name: str(f.type) for f in fields(Recipe)}
    if word not in types:
        raise UnknownNameError("option", word, types)
    if isinstance(values, str):
        between = ";" if ";" in values or word == "augment" else ","  # an augmentation's own words stand between commas
        several = [value for part in values.split(between) for value in _typed(word, types[word], part.strip())]
    elif isinstance(values, Iterable) and not isinstance(values, Mapping | bytes):
        several = [bare(value) for value in itertools.islice(values, MOST + 1)]
    else:
        raise InputError(f"{word}={values!r} is to be swept; expected a list of values.")
    if not several:
        raise InputError(f"{word} is to be swept over no value at all.")
    if any(isinstance(value, list | dict) for value in several):
        raise InputError(f"{word}={several!r:.60} is to be swept; expected plain values.")
    twice = next((value for i, value in enumerate(several) if value in several[:i]), None)
    if twice is not None:
        raise InputError(f"{word}={twice} is to be swept twice.")
    return tuple(several)


def combinations(base: Mapping[str, Any], axes: Axes) -> list[dict[str, Any]]:
    """Every combination of the axes' values, the last axis fastest. Raises `InputError` if one makes no recipe."""
    runs = math.prod(len(values) for values in axes.values())
    if runs > MOST:
        raise InputError(f"The sweep has more than {MOST:,} runs, which is the most that are done. Give fewer values.")
    for word in axes.keys() & base.keys():
        raise InputError(f"{word} is given once ({base[word]}) and as an axis of the sweep; give one of them.")
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    for words in found:
        try:
            Recipe.of(**{**base, **words})
        except InputError as error:
            if not words:
                raise
            raise InputError(f"The sweep's run {label(words)}: {error}") from None
    return found


def label(words: Mapping[str, Any]) -> str:
    """A run's name within a sweep.

    >>> label({"lr": 0.001, "seed": 0})
    'lr=0.001,seed=0'
    """
    return ",".join(f"{word}={value}" for word, value in words.items())


def _typed(word: str, kind: str, text: str) -> list[Any]:
    """The values that a part of a text between commas means, of the kind that the word has."""
    kind, _, optional = kind.partition(" | ")
    ends = RANGE.fullmatch(text)
    if ends and kind in ("int", "float"):
        first, last = int(ends[1]), int(ends[2])
        if last < first:
            raise InputError(f"{word}={text} is to be swept; a range goes from the smaller number to the larger.")
        return list(range(first, min(last, first + MOST) + 1))
    if optional and text.lower() == "none":
        return [None]
    try:
        return [{"int": int, "float": float, "str": _text, "bool": _yes_no}[kind](text)]  # type: ignore[operator]
    except (ValueError, KeyError):
        raise InputError(f"{word}={text or 'nothing'} is to be swept; expected {KINDS[kind][1]}.") from None


def _yes_no(text: str) -> bool:
    return YES_NO[text.lower()]


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return text
