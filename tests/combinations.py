"""Recipes drawn at random from every word of training; run by itself it trains some and prints their losses."""

import os
import random
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

import convista
from convista.data import Prepared, open_source, prepare
from convista.recipe import OPTIMIZER_NAMES, SCHEDULE_NAMES, Recipe
from convista.records import View
from convista.tasks.start import write_start
from convista.training import Training, Where, World, freeze_whitened, joined

WORDS = {
    "optimizer": OPTIMIZER_NAMES,
    "schedule": SCHEDULE_NAMES,
    "warmup": (0, 0.3, 1),
    "augment": (
        "none",
        "light",
        "strong",
        "trivial",
        "rand",
        "resized,alternate,rotate=20,noise,cutout@0.5",
        "equalize",
    ),
    "mixup": (0.0, 0.0, 0.2),
    "cutmix": (0.0, 0.0, 1.0),
    "label_smoothing": (0.0, 0.1),
    "focal": (0.0, 2.0),
    "class_weights": (False, True),
    "balanced": (False, True),
    "ema": (0.0, 0.9),
    "accumulate": (1, 1, 3),
    "clip": (0.0, 1.0),
    "recalibrate": (False, True),
    "views": (1, 2, 6),
    "init": (None, "he", "xavier", "lsuv", "dirac"),
    "zero_last": (False, True),
    "whiten": (False, True),
    "init_scale": (1.0, 0.5),
    "precision": ("fp32", "bf16"),
}


def few_digits() -> Prepared:
    """400 to train on, five steps an epoch."""
    return prepare(open_source("digits"), 8, 1, 0, None, limit=400)


def drawn(number: int, **fixed: object) -> Recipe:
    """The recipe of this number, for few pictures."""
    chance = random.Random(number)
    words = {word: chance.choice(values) for word, values in WORDS.items()}
    words["class_weights"] &= not words["balanced"]  # these pairs are refused
    words["whiten"] &= words["init"] != "lsuv"
    return Recipe.of(model="resnet20", epochs=2, batch=80, seed=number, **words | fixed)


def job_of(
    digits: Prepared, recipe: Recipe, folder: Path, world: World | None = None, double: bool = False
) -> Training:
    """What `convista train` makes of it, on pictures of 8 x 8."""
    torch.manual_seed(recipe.seed)
    net, view = convista.create("resnet20", classes=10, channels=1), View(8, 8, 1, (0.3,), (0.35,))
    folder.mkdir(exist_ok=True, parents=True)
    if not (folder / "last.ckpt").exists():
        write_start(net, recipe, digits.splits["train"], view, torch.device("cpu"))
    freeze_whitened(net, recipe)
    where = Where(folder, world=world or World())
    job = Training(net.double() if double else net, digits.splits["train"], digits.splits["val"], view, recipe, where)
    if double:
        floats = job.normalise
        job.normalise = lambda batch: floats(batch).double()  # type: ignore[assignment]
    return job


def main(folder: str, numbers: list[int]) -> None:
    with joined() as world:
        digits = few_digits()
        for number in numbers:
            job = job_of(digits, drawn(number, precision="fp32"), Path(folder) / str(number), world, True)
            net = DistributedDataParallel(job.net) if world.size > 1 else job.net
            job.recipe = job.recipe.with_(epochs=1)
            job._train_epoch(net)
            if world.first:
                print(number, repr(job.state.loss_sum), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], [int(number) for number in sys.argv[2:]])
    sys.stdout.flush()
    os._exit(0)  # as the command does: gloo's threads may abort while the interpreter is taken down
