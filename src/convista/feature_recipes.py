"""The words of verbs that look at features, and of learning without labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

from convista.errors import InputError
from convista.recipe import Recipe
from convista.words import checked, same, word

__all__ = ["ADAPT_NAMES", "METHOD_NAMES", "FeatureRecipe", "MapRecipe", "NeighbourRecipe", "SelfRecipe"]

ADAPT_NAMES = ("none", "pixels", "norms")
METHOD_NAMES = ("simclr", "moco")  # of learning without labels
of_training = partial(same, of=Recipe)


@dataclass(frozen=True)
class FeatureRecipe:
    """Which features: of which layer, averaged over places or not, in how many views."""

    adapt: str = word(
        "none", "Bring the network nearer to the pictures: by their channels, or its statistics.", choices=ADAPT_NAMES
    )
    layer: str | None = word(None, "Take what this layer puts out; what the classifier is given, if not named.")
    maps: bool = word(False, "Keep maps as they are, do not average over their places.")
    views: int = word(1, "Looks at each picture: its middle, then as --augment draws it.", 1)
    augment: str = of_training("augment")
    precision: str = of_training("precision", "fp32")
    seed: int = of_training("seed")
    device: str = word("auto", "auto, cpu, cuda or mps.")

    @classmethod
    def of(cls, **words: Any) -> FeatureRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        recipe = checked(cls, words)
        if recipe.precision == "fp16":
            raise InputError("precision=fp16 was given; features are computed in fp32 or bf16, and kept in 16 bits.")
        return recipe


@dataclass(frozen=True)
class NeighbourRecipe:
    """Which pictures are near: how many, by which distance, of which layer's features."""

    top: int = word(10, "Pictures for each query, the nearest first, the query itself among them.", 1)
    metric: str = word("cosine", "How far two pictures are apart.", choices=("cosine", "l2"))
    layer: str | None = same("layer", of=FeatureRecipe)
    precision: str = same("precision", of=FeatureRecipe)
    device: str = same("device", of=FeatureRecipe)

    @classmethod
    def of(cls, **words: Any) -> NeighbourRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        return checked(cls, words)

    @property
    def features(self) -> FeatureRecipe:
        """The features that are looked at."""
        return FeatureRecipe.of(layer=self.layer, precision=self.precision, device=self.device)


@dataclass(frozen=True)
class MapRecipe:
    """How a map of pictures is made, and from what similarity on two of them are near-duplicates."""

    method: str | None = word(
        None, "How pictures find their places; tsne up to 5,000 pictures, else pca, if not given.",
        choices=("pca", "tsne"),
    )  # fmt: skip
    alike: float | None = word(
        None, "Cosine from which two pictures are near-duplicates, such as 0.9; by what is usual here if not given.", 0
    )
    layer: str | None = same("layer", of=FeatureRecipe)
    precision: str = same("precision", of=FeatureRecipe)
    seed: int = word(0, "Of t-SNE's start and of the folds that judge labels.", 0)
    device: str = same("device", of=FeatureRecipe)

    @classmethod
    def of(cls, **words: Any) -> MapRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        recipe = checked(cls, words)
        if recipe.alike is not None and recipe.alike > 1:
            raise InputError(f"alike={recipe.alike} was given; it is a cosine, at most 1, and 0.9 is a start.")
        return recipe

    @property
    def features(self) -> FeatureRecipe:
        """The features that are looked at."""
        return FeatureRecipe.of(layer=self.layer, precision=self.precision, device=self.device)


TEMPERATURES = {"simclr": 0.5, "moco": 0.2}
SMALL = 64  # pixels a side up to which pictures are not blurred
MOMENTUM, QUEUE = 0.99, 4096
OWN = 4  # the queue holds a part of so many of the pictures at most, or they would often meet their own old keys


@dataclass(frozen=True)
class SelfRecipe:
    """How a network learns from pictures without labels; `pretrain` on the command line has an option for each word.

    >>> SelfRecipe.of(method="moco", queue=100, batch=256)
    Traceback (most recent call last):
    convista.errors.InputError: queue=100 was given; it must hold at least a batch, 256.
    """

    method: str = word(
        "simclr", "What makes the loss: all other pictures of the batch, or a queue.", None, METHOD_NAMES
    )
    model: str = of_training("model")
    image: int | None = of_training("image")
    channels: int | None = of_training("channels")
    limit: int | None = word(None, "Learn from so many pictures only, the same for every seed.", 2)
    epochs: int = of_training("epochs", 100)
    batch: int = of_training("batch", 256)
    temperature: float | None = word(None, "Divides similarities; 0.5 for simclr, 0.2 for moco if not given.")
    projection: int = word(128, "Numbers that the projection head puts out, which are compared.", 1)
    queue: int | None = word(
        None, "Keys of earlier pictures that moco compares with; 4,096, at most a quarter of all, if not given.", 1
    )
    momentum_encoder: float | None = word(
        None, "Share of itself that moco's second encoder keeps in a step; 0.99 if not given.", 0
    )
    optimizer: str = of_training("optimizer", "momentum")
    lr: float | None = of_training("lr")
    weight_decay: float | None = of_training("weight_decay")
    schedule: str = of_training("schedule")
    warmup: float = of_training("warmup", 10)
    clip: float = of_training("clip")
    augment: str | None = word(
        None, "How the two views are drawn; simclr, or simclr_small for pictures up to 64 pixels, if not given."
    )
    flip: bool | None = word(None, "Mirror half of the views; as --augment says, if not given.")
    labels: bool = word(True, "Judge by the classes that folders name; they take no part in learning.")
    precision: str = of_training("precision")
    seed: int = of_training("seed")

    @classmethod
    def of(cls, **words: Any) -> SelfRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        asked = checked(cls, words)
        if asked.temperature is not None and asked.temperature <= 0:
            raise InputError(f"temperature={asked.temperature} was given; it must be above 0.")
        for name in ("queue", "momentum_encoder"):
            if asked.method != "moco" and getattr(asked, name) is not None:
                raise InputError(f"{name}={getattr(asked, name)} was given; method={asked.method} has none, moco has.")
        if (asked.momentum_encoder or 0) >= 1:
            raise InputError(f"momentum_encoder={asked.momentum_encoder} was given; it must be below 1.")
        if asked.queue is not None and asked.queue < asked.batch:
            raise InputError(f"queue={asked.queue} was given; it must hold at least a batch, {asked.batch}.")
        if asked.schedule == "plateau":
            raise InputError("schedule=plateau was given; without labels there is no validation loss to wait for.")
        return asked

    def decided(self, image: int, pictures: int) -> SelfRecipe:
        """The same with every word decided, for so many pictures of this side.

        >>> SelfRecipe.of(method="moco", batch=100).decided(32, 8000).queue
        2000
        """
        own = self if self.augment else replace(self, augment="simclr_small" if image <= SMALL else "simclr")
        own = replace(own, temperature=TEMPERATURES[self.method] if self.temperature is None else self.temperature)
        if self.method != "moco":
            return own
        momentum = MOMENTUM if self.momentum_encoder is None else self.momentum_encoder
        queue = max(self.batch, min(QUEUE, pictures // OWN)) if self.queue is None else self.queue
        return replace(own, momentum_encoder=momentum, queue=queue)

    @property
    def recipe(self) -> Recipe:
        """The words that any training has; what follows the weights is moco's second encoder."""
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name in Recipe.__dataclass_fields__}
        return Recipe.of(**shared | {"augment": self.augment or "none"}, ema=self.momentum_encoder or 0.0)

    def to_json(self) -> dict[str, Any]:
        """The words as plain data; `SelfRecipe.of(**data)` reads them back."""
        return asdict(self)
