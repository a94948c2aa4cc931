"""The words of training, and which values each may have."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from convista.errors import InputError, UnknownNameError

__all__ = [
    "ADAPT_NAMES",
    "INIT_NAMES",
    "KINDS",
    "OPTIMIZER_NAMES",
    "OTHERS_SAY",
    "SCHEDULE_NAMES",
    "FeatureRecipe",
    "Looks",
    "MapRecipe",
    "NeighbourRecipe",
    "Recipe",
    "bare",
    "check_words",
]

Words = TypeVar("Words")
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}
YOURS = "package.module:function"
MOST = {"mixup": 100, "cutmix": 100, "seed": 2**63 - 1}  # words whose values have an upper end, too
OPTIMIZER_NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "lamb", "muon")
ADAPT_NAMES = ("none", "pixels", "norms")
INIT_NAMES = ("he", "xavier", "lsuv", "dirac", "zeros")
SCHEDULE_NAMES = ("constant", "step", "plateau", "exponential", "cosine", "restarts", "onecycle")


OTHERS_SAY = {  # what a word is called elsewhere
    "learning_rate": "lr",
    "batch_size": "batch",
    "image_size": "image",
    "img_size": "image",
    "arch": "model",
    "opt": "optimizer",
    "lr_scheduler": "schedule",
}


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
    lr_decay_per_stage: float | None = _word(
        None, "Factor of the rate from each stage back to the one before it, such as 0.7; 1 if not given.", 0
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
    unfreeze: str = _word(
        "auto",
        "What of a pretrained network learns further, behind its head: chosen by size and distance of the data, "
        "nothing, the last stages, one stage after the other, or all.",
        choices=("auto", "none", "last", "gradual", "all"),
    )
    freeze_until: str = _word("", "Stages of a pretrained network before this one stay as they are, such as conv4_x.")
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


def _same(name: str, default: Any = MISSING, of: Any = Recipe) -> Any:
    """A word of `Recipe`, or another, with its help and its bounds, and its default unless another is given."""
    own = of.__dataclass_fields__[name]
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

    adapt: str = _word(
        "none", "Bring the network nearer to the pictures: by their channels, or its statistics.", choices=ADAPT_NAMES
    )
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


@dataclass(frozen=True)
class NeighbourRecipe:
    """Which pictures are near: how many, by which distance, of which layer's features."""

    top: int = _word(10, "Pictures for each query, the nearest first.", 1)
    metric: str = _word("cosine", "How far two pictures are apart.", choices=("cosine", "l2"))
    layer: str | None = _same("layer", of=FeatureRecipe)
    precision: str = _same("precision", of=FeatureRecipe)
    device: str = _same("device", of=FeatureRecipe)

    @classmethod
    def of(cls, **words: Any) -> NeighbourRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        return _checked(cls, words)

    @property
    def features(self) -> FeatureRecipe:
        """The features that are looked at."""
        return FeatureRecipe.of(layer=self.layer, precision=self.precision, device=self.device)


@dataclass(frozen=True)
class MapRecipe:
    """How a map of pictures is made, and from what similarity on two of them are near-duplicates."""

    method: str | None = _word(
        None, "How pictures find their places; tsne up to 5,000 pictures, else pca, if not given.",
        choices=("pca", "tsne"),
    )  # fmt: skip
    alike: float | None = _word(
        None, "Cosine from which two pictures are near-duplicates, such as 0.9; by what is usual here if not given.", 0
    )
    layer: str | None = _same("layer", of=FeatureRecipe)
    precision: str = _same("precision", of=FeatureRecipe)
    seed: int = _word(0, "Of t-SNE's start and of the folds that judge labels.", 0)
    device: str = _same("device", of=FeatureRecipe)

    @classmethod
    def of(cls, **words: Any) -> MapRecipe:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        recipe = _checked(cls, words)
        if recipe.alike is not None and recipe.alike > 1:
            raise InputError(f"alike={recipe.alike} was given; it is a cosine, at most 1, and 0.9 is a start.")
        return recipe

    @property
    def features(self) -> FeatureRecipe:
        """The features that are looked at."""
        return FeatureRecipe.of(layer=self.layer, precision=self.precision, device=self.device)


def _checked(kind: type[Words], words: dict[str, Any]) -> Words:
    """A record of this kind from words, each held to its own type and bounds."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in words:
        if name not in known:
            near = OTHERS_SAY.get(name, "")
            raise UnknownNameError("option", name, known, near if near in known else "")
    record = kind(**{name: _spelt(bare(value), known[name].metadata["choices"]) for name, value in words.items()})
    for name, f in known.items():
        plain, _, optional = str(f.type).partition(" | ")
        _check(name, getattr(record, name), {**f.metadata, "kind": plain, "optional": bool(optional)})
    for name, most in MOST.items():
        if getattr(record, name, 0) > most:
            raise InputError(f"{name}={getattr(record, name)} was given; it must be at most {most}.")
    return record


def check_words(words: dict[str, Any]) -> None:
    """Holds each word of a recipe to its own kind and bounds, before others join it. Needs no torch.

    >>> check_words({"optimizer": "adamv"})
    Traceback (most recent call last):
    convista.errors.UnknownNameError: There is no optimizer named 'adamv'. Did you mean adam or adamw?
    """
    _checked(Recipe, words)


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
