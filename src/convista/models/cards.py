"""A network's card: where it comes from and what it expects, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convista.blocks import Chain, Spec
from convista.registry import Registry

__all__ = ["NETWORKS", "Card", "Paper", "register"]


@dataclass(frozen=True)
class Paper:
    """A publication, as one cites it."""

    title: str
    authors: str
    year: int
    venue: str

    def __str__(self) -> str:
        return f"{self.title} ({self.authors}, {self.year}), {self.venue}"


@dataclass(frozen=True)
class Card:
    """A registered network: `table(classes)` is its paper's table.

    `image` is the side of the picture in pixels and `channels` its colours in the paper; `departures` says in words
    where the table differs from the print, empty where it does not.
    """

    name: str
    family: str
    paper: Paper
    table: Callable[[int], Chain]
    image: int = 224
    channels: int = 3
    classes: int = 1000
    init: str = "he"
    departures: str = ""

    def spec(self, classes: int | None = None, channels: int | None = None) -> Spec:
        """The network's table for this many classes and channels; the paper's where None."""
        table = self.table(self.classes if classes is None else classes)
        return Spec(self.name, table, self.channels if channels is None else channels, self.image, init=self.init)


NETWORKS: Registry[Card] = Registry("network")


def register(card: Card) -> None:
    """Makes a network known by its card's name."""
    NETWORKS.add(card.name, card)
