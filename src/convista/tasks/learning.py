"""What all jobs share in which a network learns: where they are, what holds meanwhile, how they end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from convista.devices import kept_memory
from convista.errors import DivergedError
from convista.records import Epoch
from convista.tasks.checkup import another_rate
from convista.tasks.folder import alone
from convista.tasks.run import Run
from convista.training import Console, Training, World, watching
from convista.training.board import Watch

__all__ = ["Place", "at_work", "ended", "trained"]


@dataclass(frozen=True)
class Place:
    """Where a job runs and where it writes; `strict` refuses to start if any file is unusable, `tensorboard` writes
    event files into the run folder.
    """

    out: Path | None = None
    device: str = "auto"
    strict: bool = False
    checkpoint_seconds: float = 30.0
    tensorboard: bool = False


@contextmanager
def at_work(run: Run, place: Place, device: torch.device, world: World) -> Iterator[Watch]:
    """Nobody else writes into the run folder, chance begins at the run's seed, memory is kept; yields who looks on."""
    with (
        kept_memory(device),
        torch.random.fork_rng(devices=[]),
        alone(run.path, world),
        _watched(run, place, world) as watch,
    ):
        torch.manual_seed(run.recipe.seed)
        yield watch


def ended(run: Run, console: Console) -> bool:
    """Whether the run came to its end before, which is said. Raises `DivergedError` for one that never will."""
    if run.diverged:
        raise DivergedError(f"{run.path} cannot go on. {run.how_on}")
    if run.done:
        console.say(f"{run.path} is trained to its end already.")
    return run.done


def trained(training: Training, run: Run, world: World) -> list[Epoch]:
    """The history of a training that came to its end. One that diverged is recorded as such, with what to do."""
    try:
        return training.run()
    except DivergedError as error:
        said = str(error)
        reason = world.once(lambda: f"{said} {another_rate(run)}".rstrip())
        world.once(partial(run.update, status="diverged", reason=reason))
        raise DivergedError(reason) from error


def _watched(run: Run, place: Place, world: World) -> AbstractContextManager[Watch]:
    """TensorBoard where it was asked for, now or when the run began."""
    folder = run.path / "tensorboard"
    if world.first and (place.tensorboard or folder.is_dir()):
        return watching(folder)
    return nullcontext(lambda history: None)
