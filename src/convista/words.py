"""What a word is: its default, what it means, and which values it may have; each is held to that in one place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from convista.errors import InputError, UnknownNameError

__all__ = ["KINDS", "OTHERS_SAY", "bare", "checked", "same", "word"]

Words = TypeVar("Words")
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}
YOURS = "package.module:function"
MOST = {"mixup": 100, "cutmix": 100, "seed": 2**63 - 1}  # words whose values have an upper end, too
OTHERS_SAY = {  # what a word is called elsewhere
    "learning_rate": "lr",
    "batch_size": "batch",
    "image_size": "image",
    "img_size": "image",
    "arch": "model",
    "opt": "optimizer",
    "lr_scheduler": "schedule",
}


def word(default: Any, help: str, least: float | None = None, choices: tuple[str, ...] = ()) -> Any:  # noqa: A002
    """A recipe's field: its default, what it means, the least legal value, or the legal words."""
    return field(default=default, metadata={"help": help, "least": least, "choices": choices})


def same(name: str, default: Any = MISSING, *, of: Any) -> Any:
    """A word of `Recipe`, or another, with its help and its bounds, and its default unless another is given."""
    own = of.__dataclass_fields__[name]
    return field(default=own.default if default is MISSING else default, metadata=dict(own.metadata))


def checked(kind: type[Words], words: dict[str, Any], beside: Iterable[str] = ()) -> Words:
    """A record of this kind from words, each held to its own type and bounds; `beside` are others that may be meant."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in words:
        if name not in known:
            near = OTHERS_SAY.get(name, "")
            raise UnknownNameError("option", name, [*known, *beside], near if near in known else "")
    record = kind(**{name: _spelt(bare(value), known[name].metadata["choices"]) for name, value in words.items()})
    for name, f in known.items():
        plain, _, optional = str(f.type).partition(" | ")
        _check(name, getattr(record, name), {**f.metadata, "kind": plain, "optional": bool(optional)})
    for name, most in MOST.items():
        if getattr(record, name, 0) > most:
            raise InputError(f"{name}={getattr(record, name)} was given; it must be at most {most}.")
    return record


def _spelt(value: Any, choices: tuple[str, ...]) -> Any:
    """A choice in small letters, as all of them are."""
    return value.lower() if isinstance(value, str) and value.lower() in choices else value


def bare(value: Any) -> Any:
    """A number of NumPy or PyTorch as Python's own; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def _check(name: str, value: Any, rules: Any) -> None:
    kind, said = KINDS[rules["kind"]]
    if value is None and rules["optional"]:
        return
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
        shown = repr(value).splitlines()[0]
        shown = shown[:60] + "…" * (len(shown) > 60)
        hint = f", the name of a network or '{YOURS}' for one of your own" if name == "model" else ""
        raise InputError(f"{name}={shown} was given; expected {said}{hint}.")
    if rules["choices"] and value not in rules["choices"]:
        raise UnknownNameError(name, str(value), rules["choices"])
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}={value} was given; it must be a finite number.")
    if rules["least"] is not None and not value >= rules["least"]:
        raise InputError(f"{name}={value} was given; it must be at least {rules['least']}.")
    if name == "lr" and value == 0:
        raise InputError("lr=0 was given; with a rate of zero nothing is learned. Leave it out for one that fits.")
