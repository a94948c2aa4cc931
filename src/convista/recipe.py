"""The words of training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from convista.errors import InputError
from convista.words import checked, same, word

__all__ = ["INIT_NAMES", "OPTIMIZER_NAMES", "SCHEDULE_NAMES", "Looks", "Recipe", "check_words"]

OPTIMIZER_NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "lamb", "muon")
INIT_NAMES = ("he", "xavier", "lsuv", "dirac", "zeros")
# What the verb takes beside a recipe.
FRONT = ("adapt", "console", "device", "from_", "out", "recipe", "resume", "strict", "tensorboard", "weights")
SCHEDULE_NAMES = ("constant", "step", "plateau", "exponential", "cosine", "restarts", "onecycle")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained; `train` on the command line has an option for each word.

    >>> Recipe.of(epochs=3).epochs
    3
    >>> Recipe.of(epoch=3)
    Traceback (most recent call last):
    convista.errors.UnknownNameError: There is no option named 'epoch'. Did you mean epochs?
    """

    model: str = word("resnet18", "The network's name; `convista models` lists them.")
    image: int | None = word(None, "Side of the picture that the network sees, in pixels; the paper's if not given.", 1)
    channels: int | None = word(None, "1 for grey, 3 for colour; the paper's if not given.", 1)
    init: str | None = word(None, "Initial weights; the network's own if not given.", choices=INIT_NAMES)
    zero_last: bool = word(False, "Every residual branch starts at zero, its block as the shortcut.")
    whiten: bool = word(False, "The first convolution whitens patches of the training pictures, and stays as it is.")
    what_if: str = word("", "Change the network's table first, such as conv=separable,act=tanh.")
    limit: int | None = word(
        None, "Train on so many pictures only, of each class equally many; half as many validate, as many test.", 2
    )
    epochs: int = word(20, "Passes over the training pictures.", 1)
    batch: int = word(64, "Pictures in a step, over all processes together.", 2)
    optimizer: str = word("adamw", "How a step is made.", choices=OPTIMIZER_NAMES)
    lr: float | None = word(None, "Peak learning rate; fitting the optimizer and the batch if not given.", 0)
    weight_decay: float | None = word(None, "Decay of weights (not of norms and biases).", 0)
    schedule: str = word("cosine", "The learning rate's course behind the warm-up.", choices=SCHEDULE_NAMES)
    warmup: float = word(
        1, "Epochs over which the rate rises from zero, at most a quarter of them; onecycle rises by itself.", 0
    )
    lr_decay_per_stage: float | None = word(
        None, "Factor of the rate from each stage back to the one before it; 1 if not given, 0.7 with --from.", 0
    )
    label_smoothing: float = word(0.1, "Probability mass that is spread over all classes.", 0)
    dropout: float | None = word(None, "Share of values dropped before the classifier; its own if not given.", 0)
    stochastic_depth: float = word(0.0, "Share of times that the last residual block is dropped, such as 0.1.", 0)
    focal: float = word(0.0, "Gamma of the focal loss, such as 2: what is right already counts less.", 0)
    class_weights: bool = word(False, "Let rare classes weigh more in the loss, all classes the same in sum.")
    balanced: bool = word(False, "Show every class equally often: of rare ones the same pictures again.")
    clip: float = word(5.0, "Largest norm of the gradient; 0 for no limit.", 0)
    accumulate: int = word(1, "Parts of a batch that pass one after another, to need less memory.", 1)
    ema: float = word(0.0, "Decay of the running average of weights that is kept, such as 0.999; 0 for none.", 0)
    init_scale: float = word(1.0, "Factor of the initial weights of convolutions and linear layers.", 0)
    augment: str = word(
        "light",
        "How training pictures are changed: none, light, strong, trivial, rand, or words as in 'light,rotate=15'.",
    )
    crop: bool = word(True, "Train on random windows of the pictures.")
    flip: bool | None = word(None, "Mirror half of the pictures; off where that would change the class, unless given.")
    mixup: float = word(0.0, "Blend each picture with another: alpha of the Beta distribution, such as 0.2.", 0)
    cutmix: float = word(0.0, "Put a part of another picture into each: alpha, such as 1.", 0)
    unfreeze: str = word(
        "auto",
        "What of a pretrained network learns further, behind its head: chosen by size and distance of the data, "
        "nothing, the last stages, one stage after the other, or all.",
        choices=("auto", "none", "last", "gradual", "all"),
    )
    freeze_until: str = word("", "Stages of a pretrained network before this one stay as they are, such as conv4_x.")
    views: int = word(1, "Views of a picture that are averaged in judging it: 1, 2 (mirrored), 6 (moved, too).", 1)
    patience: int = word(0, "Stop after this many epochs without a better validation; 0 never.", 0)
    recalibrate: bool = word(False, "Measure the statistics of normalisation anew before each judgement.")
    precision: str = word("auto", "Arithmetic of the network.", choices=("auto", "fp32", "bf16", "fp16"))
    compile: bool = word(False, "Let torch.compile make the network faster; takes a while at the start.")
    seed: int = word(0, "Decides the weights, the splits, the order and the crops.", 0)

    @classmethod
    def of(cls, **words: Any) -> Recipe:
        """A recipe from the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        recipe = checked(cls, words, FRONT)
        for name in ("label_smoothing", "ema", "dropout", "stochastic_depth"):
            if (getattr(recipe, name) or 0) >= 1:
                raise InputError(f"{name}={getattr(recipe, name)} was given; it must be below 1.")
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


own = partial(same, of=Recipe)


@dataclass(frozen=True)
class Looks:
    """What a contact sheet shows: the words of `Recipe` on augmentation, `pictures` of them over `epochs` epochs.

    >>> Looks.of(pictures=0)
    Traceback (most recent call last):
    convista.errors.InputError: pictures=0 was given; it must be at least 1.
    """

    augment: str = own("augment")
    crop: bool = own("crop")
    flip: bool | None = own("flip")
    mixup: float = own("mixup")
    cutmix: float = own("cutmix")
    model: str | None = word(None, "Side and channels as this network takes them.")
    image: int | None = word(None, "Side that the network sees; the pictures' own, at most 224, if not given.", 1)
    channels: int | None = word(None, "1 for grey, 3 for colour, which is usual.", 1)
    pictures: int = word(8, "Rows of the sheet.", 1)
    epochs: int = word(8, "Columns of the sheet.", 1)
    seed: int = word(0, "The same as in training shows the same.", 0)

    @classmethod
    def of(cls, **words: Any) -> Looks:
        """From the words given, the rest at their defaults. Raises `InputError` for what makes no sense."""
        return checked(cls, words)


def check_words(words: dict[str, Any]) -> None:
    """Holds each word of a recipe to its own kind and bounds, before others join it. Needs no torch.

    >>> check_words({"optimizer": "adamv"})
    Traceback (most recent call last):
    convista.errors.UnknownNameError: There is no optimizer named 'adamv'. Did you mean adam or adamw?
    """
    checked(Recipe, words)
