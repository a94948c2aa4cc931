"""Name -> thing, with a hint when the name is nearly right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from convista.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A mapping whose missing names are explained.

    >>> optimisers = Registry("optimizer", adamw=1, nesterov=2)
    >>> optimisers["adamw"]
    1
    >>> optimisers["adamv"]
    Traceback (most recent call last):
    convista.errors.UnknownNameError: There is no optimizer named 'adamv'. Did you mean adamw?
    """

    def __init__(self, kind: str, **entries: T):
        self.kind = kind
        self._entries = dict(entries)

    def add(self, name: str, entry: T) -> None:
        """Register `entry` under `name`, once."""
        if name in self._entries:
            raise ValueError(f"The {self.kind} '{name}' is registered already.")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
