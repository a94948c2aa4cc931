"""The nouns: frozen, printable, and plain enough for JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from convista.errors import UnknownNameError

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
        among = f", top-5 {self.top5:.3f}" if self.floor["top5"] < 1 else ""  # of five classes it is always right
        return (
            f"top-1 {self.top1:.3f} (floor {self.floor['top1']:.3f}){among}, loss {self.loss:.3f}, "
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
