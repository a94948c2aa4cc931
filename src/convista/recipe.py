"""The words of training, and which values each may have."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from convista.errors import InputError, UnknownNameError

__all__ = [
    "INIT_NAMES",
    "KINDS",
    "METHOD_NAMES",
    "OPTIMIZER_NAMES",
    "SCHEDULE_NAMES",
    "FeatureRecipe",
    "Looks",
    "Recipe",
    "SelfRecipe",
    "bare",
]

Words = TypeVar("Words")
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}
MOST = {"mixup": 100, "cutmix": 100, "seed": 2**63 - 1}  # words whose values have an upper end, too
OPTIMIZER_NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "lamb", "muon")
INIT_NAMES = ("he", "xavier", "lsuv", "dirac", "zeros")
METHOD_NAMES = ("simclr", "moco")  # of learning without labels
SCHEDULE_NAMES = ("constant", "step", "plateau", "exponential", "cosine", "restarts", "onecycle")


def _word(default: Any, help: str, least: float | None = None, choices: tuple[str, ...] = ()) -> Any:  # noqa: A002
    """A recipe's field: its default, what it means, the least legal value, or the legal words."""
    return field(default=default, metadata={"help": help, "least": least, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained; `train` on the command line has an option for each word.

    >>> Recipe.of(epochs=3).epochs
    3
    >>> Recipe.of(epoch=3)
    Traceback (most recent call last):
    convista.errors.UnknownNameError: There is no option named 'epoch'. Did you mean epochs?
    """

    model: str = _word("resnet18", "The network's name; `convista models` lists them.")
    image: int | None = _word(
        None, "Side of the picture that the network sees, in pixels; the paper's if not given.", 1
    )
    channels: int | None = _word(None, "1 for grey, 3 for colour; the paper's if not given.", 1)
    init: str | None = _word(None, "Initial weights; the network's own if not given.", choices=INIT_NAMES)
    zero_last: bool = _word(False, "Every residual branch starts at zero, its block as the shortcut.")
    whiten: bool = _word(False, "The first convolution whitens patches of the training pictures, and stays as it is.")
    what_if: str = _word("", "Change the network's table first, such as conv=separable,act=tanh.")
    limit: int | None = _word(
        None, "Train on so many pictures only, of each class equally many, the same for every seed.", 2
    )
    epochs: int = _word(20, "Passes over the training pictures.", 1)
    batch: int = _word(64, "Pictures in a step, over all processes together.", 2)
    optimizer: str = _word("adamw", "How a step is made.", choices=OPTIMIZER_NAMES)
    lr: float | None = _word(None, "Peak learning rate; fitting the optimizer and the batch if not given.", 0)
    weight_decay: float | None = _word(None, "Decay of weights (not of norms and biases).", 0)
    schedule: str = _word("cosine", "The learning rate's course behind the warm-up.", choices=SCHEDULE_NAMES)
    warmup: float = _word(
        1, "Epochs over which the rate rises from zero, at most a quarter of them; onecycle rises by itself.", 0
    )
    label_smoothing: float = _word(0.1, "Probability mass that is spread over all classes.", 0)
    dropout: float | None = _word(None, "Share of values dropped before the classifier; its own if not given.", 0)
    stochastic_depth: float = _word(0.0, "Share of times that the last residual block is dropped, such as 0.1.", 0)
    focal: float = _word(0.0, "Gamma of the focal loss, such as 2: what is right already counts less.", 0)
    class_weights: bool = _word(False, "Let rare classes weigh more in the loss, all classes the same in sum.")
    balanced: bool = _word(False, "Show every class equally often: of rare ones the same pictures again.")
    clip: float = _word(5.0, "Largest norm of the gradient; 0 for no limit.", 0)
    accumulate: int = _word(1, "Parts of a batch that pass one after another, to need less memory.", 1)
    ema: float = _word(0.0, "Decay of the running average of weights that is kept, such as 0.999; 0 for none.", 0)
    init_scale: float = _word(1.0, "Factor of the initial weights of convolutions and linear layers.", 0)
    augment: str = _word(
        "light",
        "How training pictures are changed: none, light, strong, trivial, rand, or words as in 'light,rotate=15'.",
    )
    crop: bool = _word(True, "Train on random windows of the pictures.")
    flip: bool | None = _word(None, "Mirror half of the pictures; off where that would change the class, unless given.")
    mixup: float = _word(0.0, "Blend each picture with another: alpha of the Beta distribution, such as 0.2.", 0)
    cutmix: float = _word(0.0, "Put a part of another picture into each: alpha, such as 1.", 0)
    views: int = _word(1, "Views of a picture that are averaged in judging it: 1, 2 (mirrored), 6 (moved, too).", 1)
    patience: int = _word(0, "Stop after this many epochs without a better validation; 0 never.", 0)
    recalibrate: bool = _word(False, "Measure the statistics of normalisation anew before each judgement.")
    precision: str = _word("auto", "Arithmetic of the network.", choices=("auto", "fp32", "bf16", "fp16"))
    compile: bool = _word(False, "Let torch.compile make the network faster; takes a while at the start.")
    seed: int = _word(0, "Decides the weights, the splits, the order and the crops.", 0)

    @classmethod
    def of(cls, **words: Any) -> Recipe:
        """A recipe from the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        recipe = _checked(cls, words)
        for word in ("label_smoothing", "ema", "dropout", "stochastic_depth"):
            if (getattr(recipe, word) or 0) >= 1:
                raise InputError(f"{word}={getattr(recipe, word)} was given; it must be below 1.")
        if recipe.balanced and recipe.class_weights:
            raise InputError("balanced and class_weights were given; each makes up for rare classes: give one of them.")
        if recipe.whiten and recipe.init == "lsuv":
            raise InputError("whiten and init=lsuv were given; both decide the first layer, so give one of them.")
        if recipe.views not in (1, 2, 6):
            raise InputError(f"views={recipe.views} was given; expected 1, 2 (mirrored too) or 6 (moved, too).")
        if recipe.accumulate > recipe.batch // 2:
            raise InputError(
                f"accumulate={recipe.accumulate} was given; a batch of {recipe.batch} has at most {recipe.batch // 2} "
                "parts of two pictures."
            )
        return recipe

    def with_(self, **words: Any) -> Recipe:
        """The same recipe with some words changed."""
        return replace(self, **words)

    def to_json(self) -> dict[str, Any]:
        """The words as plain data; `Recipe.of(**data)` reads them back."""
        return asdict(self)


def _same(name: str, default: Any = MISSING) -> Any:
    """A word of `Recipe`, with its help and its bounds, and its default unless another is given."""
    own = Recipe.__dataclass_fields__[name]
    return field(default=own.default if default is MISSING else default, metadata=dict(own.metadata))


@dataclass(frozen=True)
class Looks:
    """What a contact sheet shows: the words of `Recipe` on augmentation, `pictures` of them over `epochs` epochs.

    >>> Looks.of(pictures=0)
    Traceback (most recent call last):
    convista.errors.InputError: pictures=0 was given; it must be at least 1.
    """

    augment: str = _same("augment")
    crop: bool = _same("crop")
    flip: bool | None = _same("flip")
    mixup: float = _same("mixup")
    cutmix: float = _same("cutmix")
    model: str | None = _word(None, "Side and channels as this network takes them.")
    image: int | None = _word(None, "Side that the network sees; the pictures' own, at most 224, if not given.", 1)
    channels: int | None = _word(None, "1 for grey, 3 for colour, which is usual.", 1)
    pictures: int = _word(8, "Rows of the sheet.", 1)
    epochs: int = _word(8, "Columns of the sheet.", 1)
    seed: int = _word(0, "The same as in training shows the same.", 0)

    @classmethod
    def of(cls, **words: Any) -> Looks:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        return _checked(cls, words)


@dataclass(frozen=True)
class FeatureRecipe:
    """Which features: of which layer, averaged over places or not, in how many views."""

    layer: str | None = _word(None, "Take what this layer puts out; what the classifier is given, if not named.")
    maps: bool = _word(False, "Keep maps as they are, do not average over their places.")
    views: int = _word(1, "Looks at each picture: its middle, then as --augment draws it.", 1)
    augment: str = _same("augment")
    precision: str = _same("precision", "fp32")
    seed: int = _same("seed")
    device: str = _word("auto", "auto, cpu, cuda or mps.")

    @classmethod
    def of(cls, **words: Any) -> FeatureRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        recipe = _checked(cls, words)
        if recipe.precision == "fp16":
            raise InputError("precision=fp16 was given; features are computed in fp32 or bf16, and kept in 16 bits.")
        return recipe


TEMPERATURES = {"simclr": 0.5, "moco": 0.2}
SMALL = 64  # pixels a side up to which pictures are not blurred
MOMENTUM, QUEUE = 0.99, 4096


@dataclass(frozen=True)
class SelfRecipe:
    """How a network learns from pictures without labels; `pretrain` on the command line has an option for each word.

    >>> SelfRecipe.of(method="moco", queue=100, batch=256)
    Traceback (most recent call last):
    convista.errors.InputError: queue=100 was given; it must hold at least a batch, 256.
    """

    method: str = _word(
        "simclr", "What makes the loss: all other pictures of the batch, or a queue.", None, METHOD_NAMES
    )
    model: str = _same("model")
    image: int | None = _same("image")
    channels: int | None = _same("channels")
    limit: int | None = _word(None, "Learn from so many pictures only, the same for every seed.", 2)
    epochs: int = _same("epochs", 100)
    batch: int = _same("batch", 256)
    temperature: float | None = _word(None, "Divides similarities; 0.5 for simclr, 0.2 for moco if not given.")
    projection: int = _word(128, "Numbers that the projection head puts out, which are compared.", 1)
    queue: int | None = _word(
        None, "Keys of earlier pictures that moco compares with; 4,096, or fewer for fewer pictures, if not given.", 1
    )
    momentum_encoder: float | None = _word(
        None, "Share of itself that moco's second encoder keeps in a step; 0.99 if not given.", 0
    )
    optimizer: str = _same("optimizer", "momentum")
    lr: float | None = _same("lr")
    weight_decay: float | None = _same("weight_decay")
    schedule: str = _same("schedule")
    warmup: float = _same("warmup", 10)
    clip: float = _same("clip")
    augment: str | None = _word(
        None, "How the two views are drawn; simclr, or simclr_small for pictures up to 64 pixels, if not given."
    )
    flip: bool | None = _word(None, "Mirror half of the views; as --augment says, if not given.")
    labels: bool = _word(True, "Judge by the classes that folders name; they take no part in learning.")
    precision: str = _same("precision")
    seed: int = _same("seed")

    @classmethod
    def of(cls, **words: Any) -> SelfRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        asked = _checked(cls, words)
        if asked.temperature is not None and asked.temperature <= 0:
            raise InputError(f"temperature={asked.temperature} was given; it must be above 0.")
        for word in ("queue", "momentum_encoder"):
            if asked.method != "moco" and getattr(asked, word) is not None:
                raise InputError(f"{word}={getattr(asked, word)} was given; method={asked.method} has none, moco has.")
        if (asked.momentum_encoder or 0) >= 1:
            raise InputError(f"momentum_encoder={asked.momentum_encoder} was given; it must be below 1.")
        if asked.queue is not None and asked.queue < asked.batch:
            raise InputError(f"queue={asked.queue} was given; it must hold at least a batch, {asked.batch}.")
        if asked.schedule == "plateau":
            raise InputError("schedule=plateau was given; without labels there is no validation loss to wait for.")
        return asked

    def decided(self, image: int, pictures: int) -> SelfRecipe:
        """The same with every word decided, for so many pictures of this side.

        >>> SelfRecipe.of(method="moco", batch=100).decided(32, 250).queue
        250
        """
        own = self if self.augment else replace(self, augment="simclr_small" if image <= SMALL else "simclr")
        own = replace(own, temperature=TEMPERATURES[self.method] if self.temperature is None else self.temperature)
        if self.method != "moco":
            return own
        momentum = MOMENTUM if self.momentum_encoder is None else self.momentum_encoder
        queue = max(self.batch, min(QUEUE, pictures)) if self.queue is None else self.queue
        return replace(own, momentum_encoder=momentum, queue=queue)

    @property
    def recipe(self) -> Recipe:
        """The words that any training has; what follows the weights is moco's second encoder."""
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name in Recipe.__dataclass_fields__}
        return Recipe.of(**shared | {"augment": self.augment or "none"}, ema=self.momentum_encoder or 0.0)

    def to_json(self) -> dict[str, Any]:
        """The words as plain data; `SelfRecipe.of(**data)` reads them back."""
        return asdict(self)


def _checked(kind: type[Words], words: dict[str, Any]) -> Words:
    """A record of this kind from words, each held to its own type and bounds."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in words:
        if name not in known:
            raise UnknownNameError("option", name, known)
    record = kind(**{name: bare(value) for name, value in words.items()})
    for name, f in known.items():
        plain, _, optional = str(f.type).partition(" | ")
        _check(name, getattr(record, name), {**f.metadata, "kind": plain, "optional": bool(optional)})
    for name, most in MOST.items():
        if getattr(record, name, 0) > most:
            raise InputError(f"{name}={getattr(record, name)} was given; it must be at most {most}.")
    return record


def bare(value: Any) -> Any:
    """A number of NumPy or PyTorch as Python's own; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def _check(name: str, value: Any, rules: Any) -> None:
    kind, said = KINDS[rules["kind"]]
    if value is None and rules["optional"]:
        return
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
        raise InputError(f"{name}={value!r} was given; expected {said}.")
    if rules["choices"] and value not in rules["choices"]:
        raise UnknownNameError(name, str(value), rules["choices"])
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}={value} was given; it must be a finite number.")
    if rules["least"] is not None and not value >= rules["least"]:
        raise InputError(f"{name}={value} was given; it must be at least {rules['least']}.")
