"""A network's card: where it comes from and what it expects, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from convista.blocks import Chain, Spec
from convista.catalogue import Published, catalogue
from convista.records import Preprocessing
from convista.registry import Registry

__all__ = ["CAFFE", "IMAGENET", "NETWORKS", "TENSORFLOW", "Card", "Paper", "register"]

IMAGENET = Preprocessing()  # mean and deviation of ImageNet's pixels
CAFFE = Preprocessing(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3)  # x - mean, in 0..255
TENSORFLOW = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))  # x / 127.5 - 1


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
    where the table differs from the print, empty where it does not; `pixels` is how the authors scaled them.
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
    pixels: Preprocessing = IMAGENET
    resize: int | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """What the weights of the card's figures expect of a picture, at the size of the paper."""
        resize = self.resize or (self.image if self.image <= 32 else round(self.image / 0.875))
        return replace(self.pixels, crop=self.image, resize=resize)

    @property
    def published(self) -> Published | None:
        """What it costs and what was published of it; None for a network of your own."""
        return catalogue().get(self.name)

    def spec(self, classes: int | None = None, channels: int | None = None, auxiliary: bool = False) -> Spec:
        """The table for this many classes and channels, the paper's where None; with auxiliary heads or not."""
        table = self.table(self.classes if classes is None else classes)
        made = Spec(self.name, table, self.channels if channels is None else channels, self.image, init=self.init)
        return made if auxiliary else made.without_auxiliary()


NETWORKS: Registry[Card] = Registry("network")


def register(card: Card) -> None:
    """Makes a network known by its card's name."""
    NETWORKS.add(card.name, card)
