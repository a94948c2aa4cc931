"""What a training job is told, what it tells, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from convista.records import Epoch
from convista.training.board import Watch
from convista.training.distributed import World

__all__ = ["Console", "Progress", "State", "Where", "epoch_line", "epochs_csv", "figure"]


@dataclass(frozen=True)
class Progress:
    """What a progress bar needs to know after a step; `done` and `total` count the steps of the whole run.

    `rate` is the learning rate where it is what the steps are about, as in the learning-rate finder.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    loss: float
    pictures_per_second: float
    rate: float | None = None


@dataclass(frozen=True)
class Console:
    """Where a long job speaks, and where it asks whether to stop. `command` is how it was started."""

    say: Callable[[str], None] = lambda text: None
    show: Callable[[Progress], None] = lambda progress: None
    reading: Callable[[str, int, int], None] = lambda what, done, total: None
    stopped: Callable[[], bool] = lambda: False
    command: str = ""


@dataclass(frozen=True)
class Where:
    """Where a network is trained: its run folder, the device, the processes; how often it is saved, who looks on."""

    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    world: World = field(default_factory=World)
    checkpoint_seconds: float = 30.0
    watch: Watch = lambda history: None


@dataclass
class State:
    """How far a run is; together with the weights and the optimiser's memory it is the checkpoint."""

    epoch: int = 0
    batch: int = 0  # the next global batch of the epoch
    lr_scale: float = 1.0
    strikes: int = 0
    parts: int = 1  # in which a batch passes
    loss_sum: float = 0.0
    hits: float = 0.0
    seen: int = 0
    seconds: float = 0.0  # spent in the epoch
    best: tuple[float, float] = (-2.0, -math.inf)  # validation top-1, minus its loss
    best_epoch: int = 0
    history: list[Epoch] = field(default_factory=list)


def figure(value: float, digits: int) -> str:
    """A number to so many digits, as one writes it.

    >>> figure(102.3, 1), figure(0.00123, 2), figure(1e29, 1)
    ('100', '0.0012', '1e+29')
    """
    return f"{float(f'{value:.{digits}g}'):g}"


def epoch_line(row: Epoch, epochs: int) -> str:
    """What is said when an epoch ends."""
    return (
        f"epoch {row.epoch:>3}/{epochs}  train loss {row.train_loss:.4f} top-1 {row.train_top1:.3f}  "
        f"val loss {row.val_loss:.4f} top-1 {row.val_top1:.3f}  {row.pictures_per_second:,.0f} images/s"
    )


def epochs_csv(history: list[Epoch]) -> str:
    """The text of `metrics.csv`."""
    names = list(Epoch.__dataclass_fields__)
    rows = [",".join(repr(value) for value in asdict(row).values()) for row in history]
    return "\n".join([",".join(names), *rows]) + "\n"
