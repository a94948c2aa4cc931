"""The nouns: frozen, printable, and plain enough for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from convista.errors import InputError, UnknownNameError

__all__ = [
    "BadFile",
    "ClassScore",
    "Cost",
    "CostRow",
    "CostStage",
    "Epoch",
    "Guess",
    "Memory",
    "Prediction",
    "Predictions",
    "Preprocessing",
    "Recipe",
    "Score",
    "View",
]


@dataclass(frozen=True)
class View:
    """How a file becomes a network's input; it travels with the weights.

    A picture's centre square is kept at `stored` pixels a side; the network sees `image` of them: the centre, or
    while training what the recipe's augmentation makes of it. `mean` and `std` are in units of 0..1.
    """

    image: int
    stored: int
    channels: int = 3
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> View:
        """The view that `dataclasses.asdict` wrote."""
        known = {f.name: data[f.name] for f in fields(cls)}
        return cls(**known | {"mean": tuple(data["mean"]), "std": tuple(data["std"])})


@dataclass(frozen=True)
class Preprocessing:
    """What a set of weights expects of a picture: `(x / 255 - mean) / std` for each channel, in R G B order.

    The short side is resized to `resize` pixels, then the centre `crop` pixels square are cut out.
    """

    crop: int = 224
    resize: int = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def with_channels(self, channels: int) -> Preprocessing | None:
        """The same for grey pictures, by the mean over the colours; None for other numbers of channels."""
        if channels == len(self.mean):
            return self
        if channels != 1:
            return None
        mean, std = (sum(values) / len(values) for values in (self.mean, self.std))
        return replace(self, mean=(mean,), std=(std,))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocessing:
        """The record that `dataclasses.asdict` wrote."""
        return cls(**data | {"mean": tuple(data["mean"]), "std": tuple(data["std"])})


OPTIMIZER_NAMES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "lamb", "muon")
INIT_NAMES = ("he", "xavier", "lsuv", "dirac", "zeros")
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
    warmup: float = _word(1, "Epochs over which the learning rate rises from zero; onecycle rises by itself.", 0)
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
        known = {f.name: f for f in fields(cls)}
        for name in words:
            if name not in known:
                raise UnknownNameError("option", name, known)
        recipe = cls(**words)
        for name, f in known.items():
            kind, _, optional = str(f.type).partition(" | ")
            _check(name, getattr(recipe, name), {**f.metadata, "kind": kind, "optional": bool(optional)})
        for word in ("label_smoothing", "ema", "dropout", "stochastic_depth"):
            if (getattr(recipe, word) or 0) >= 1:
                raise InputError(f"{word}={getattr(recipe, word)} was given; it must be below 1.")
        if recipe.balanced and recipe.class_weights:
            raise InputError("balanced and class_weights were given; each makes up for rare classes: give one of them.")
        if recipe.whiten and recipe.init == "lsuv":
            raise InputError("whiten and init=lsuv were given; both decide the first layer, so give one of them.")
        for word, most in (("mixup", 100), ("cutmix", 100), ("seed", 2**63 - 1)):
            if getattr(recipe, word) > most:
                raise InputError(f"{word}={getattr(recipe, word)} was given; it must be at most {most}.")
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


def _check(name: str, value: Any, rules: Any) -> None:
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
    kind = kinds[rules["kind"]]
    if value is None and rules["optional"]:
        return
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
        raise InputError(f"{name}={value!r} was given; expected {rules['kind']}.")
    if rules["choices"] and value not in rules["choices"]:
        raise UnknownNameError(name, str(value), rules["choices"])
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}={value} was given; it must be a finite number.")
    if rules["least"] is not None and not value >= rules["least"]:
        raise InputError(f"{name}={value} was given; it must be at least {rules['least']}.")


@dataclass(frozen=True)
class ClassScore:
    """One class: precision (None where it was never said), recall (None where it never came), and their floor.

    The floor is the class's share of the pictures: the precision of saying it always, and the recall of saying it at
    random as often as it comes.
    """

    label: str
    pictures: int
    precision: float | None
    recall: float | None
    floor: float


@dataclass(frozen=True)
class Score:
    """How good a network is on a set of pictures; all figures in 0..1, `loss` in nats.

    `ece` is the expected calibration error over 15 bins. `confusion[i][j]` counts pictures of class i that were
    called j. `floor` holds the same four figures for always saying what training showed most often.
    """

    pictures: int
    top1: float
    top5: float
    loss: float
    ece: float
    floor: dict[str, float]
    classes: tuple[ClassScore, ...]
    confusion: list[list[int]]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Score:
        """The score that `dataclasses.asdict` wrote."""
        return cls(**data | {"classes": tuple(ClassScore(**row) for row in data["classes"])})

    def __str__(self) -> str:
        return (
            f"top-1 {self.top1:.3f} (floor {self.floor['top1']:.3f}), top-5 {self.top5:.3f}, loss {self.loss:.3f}, "
            f"calibration error {self.ece:.3f}, {self.pictures:,} pictures"
        )


@dataclass(frozen=True)
class Epoch:
    """One row of `metrics.csv`."""

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    val_top5: float
    pictures_per_second: float
    seconds: float


@dataclass(frozen=True)
class Cost:
    """The price of a network for one input of the shape `image`, without its batch: (C, H, W) for pictures.

    `macs` counts multiply-accumulates of convolutions, linear layers and matrix products (one multiplication and one
    addition each); biases are not in it. `flops` is twice that. `other_flops` holds what comes besides, by kind:
    normalisation, activation, pooling, elementwise, resampling. `activation_bytes_train` is what training keeps of one
    picture for the backward pass, `peak_bytes_infer` weights and maps at the worst moment of inference on it.
    `receptive_field` is the side in pixels of what a unit of the last spatial map, `last_map`, sees through its
    windows, `stride` how many pixels neighbours are apart; `sees_all` says that gates or statistics besides lead to the
    whole picture. None where there is no such map, or where positions are mixed in ways that are not followed.
    `uncounted` names the operations whose cost is not known. `rows` are the layers, `blocks` what holds layers,
    `stages` the outermost of these.
    """

    model: str
    image: tuple[int, ...]
    params: int
    macs: int
    flops: int
    other_flops: dict[str, int]
    activation_bytes_train: int
    peak_bytes_infer: int
    receptive_field: int | None
    stride: float | None
    sees_all: bool
    last_map: str
    uncounted: tuple[str, ...]
    stages: tuple[CostStage, ...]
    rows: tuple[CostRow, ...]
    blocks: tuple[CostRow, ...]

    def layer(self, name: str) -> CostRow:
        """The row of a layer, a block or a stage. Raises `UnknownNameError`."""
        known = {row.name: row for row in (*self.blocks, *self.rows)}
        if name not in known:
            raise UnknownNameError("layer", str(name), known)
        return known[name]

    def __str__(self) -> str:
        head = ("stage", "output", "parameters", "MACs", "saved for backward")
        body = [
            (s.name, " x ".join(map(str, s.shape)), f"{s.params:,}", f"{s.macs:,}", f"{s.activation_bytes:,}")
            for s in self.stages
        ]
        total = ("total", "", f"{self.params:,}", f"{self.macs:,}", f"{self.activation_bytes_train:,}")
        widths = [max(map(len, column)) for column in zip(head, *body, total, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in (head, *body, total)
        ]
        uncounted = [f"uncounted: {', '.join(self.uncounted)}"] if self.uncounted else []
        return "\n".join([f"{self.model}, one input of {' x '.join(map(str, self.image))}", *lines, *uncounted])


@dataclass(frozen=True)
class CostRow:
    """One layer: its human name, its kind, the shape it puts out, and its own price.

    `calls` says how often it ran. `receptive_field`, `stride` and `padding` are (height, width) in pixels: what a unit
    sees, how far apart neighbours are, how far the first one reaches beyond the edge. `sees_all` says that some way,
    such as a squeeze-excite, leads to the whole picture. Where the three are None a unit sees the whole picture at
    once, or, without `sees_all`, what it sees is not known.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    params: int
    macs: int
    other_flops: dict[str, int]
    activation_bytes: int
    calls: int
    receptive_field: tuple[int, ...] | None
    stride: tuple[float, ...] | None
    padding: tuple[float, ...] | None
    sees_all: bool


@dataclass(frozen=True)
class CostStage:
    """A row of the network's table, or a child of a module that has none: what all its layers cost together."""

    name: str
    layers: str
    shape: tuple[int, ...]
    params: int
    macs: int
    other_flops: dict[str, int]
    activation_bytes: int


@dataclass(frozen=True)
class Memory:
    """Bytes that `batch` pictures take. Training keeps weights, gradients, the optimizer's state and activations.

    `peak_train` is the worst moment of a training step, `peak_infer` of an inference; both with the weights.
    """

    batch: int
    optimizer: str
    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    peak_train: int
    peak_infer: int


@dataclass(frozen=True)
class Guess:
    """One of the classes a network considers, with its probability in 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says to one picture: its five most probable classes, best first."""

    image: str
    top: tuple[Guess, ...]


@dataclass(frozen=True)
class Predictions:
    """The answer to a set of pictures, and the files that were none (`path`, `reason`)."""

    predictions: tuple[Prediction, ...]
    skipped: tuple[BadFile, ...]


@dataclass(frozen=True)
class BadFile:
    """A file that is not used, and why."""

    path: str
    reason: str
