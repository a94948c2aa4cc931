"""A run folder comes to be: a free place, room on the disk, one job at a time, and all that resuming will need."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from convista.blocks import Spec
from convista.data import (
    Prepared,
    lasting_address,
    read_policy,
)
from convista.errors import RunError, StorageError
from convista.files import storage_error, write_atomically
from convista.recipe import Recipe
from convista.records import View
from convista.tasks.run import VERSION, Run
from convista.training import (
    World,
)

__all__ = ["alone", "check_room", "free_folder", "undone_on_error", "write_run"]

OURS = {"split.csv", "spec.json", "labels.json", "cache"}  # what a run folder holds before run.json is there


def free_folder(out: Path | None, name: str) -> Path:
    """The folder asked for, which must be free; else `runs/NAME`, `runs/NAME-2`, …, the first that is."""
    if out is None:
        base, number = Path("runs") / name, 1
        while (folder := base if number == 1 else base.with_name(f"{name}-{number}")).exists():
            number += 1
        return folder
    try:
        if out.is_file():
            raise FileExistsError(errno.EEXIST, "")
        held = {entry.name for entry in out.iterdir() if not entry.match(".*.tmp")} if out.exists() else set()
    except OSError as error:
        raise storage_error(out, error) from None
    if held <= OURS:  # empty, or what a process left that was killed before it began to train
        return out
    run = Run.load(out) if "run.json" in held else None
    hint = run.how_on if run and not (run.done or run.diverged) else "Choose another --out."
    raise RunError(f"The output folder {out} is not empty. {hint}")


@contextmanager
def undone_on_error(out: Path, world: World) -> Iterator[None]:
    """Takes away the files and folders that were made inside, if the block fails."""
    made = [folder for folder in (out, *out.parents) if not os.path.lexists(folder)]
    try:
        yield
    except BaseException:
        if world.first:
            for name in (*OURS, "run.json"):
                shutil.rmtree(out / name, ignore_errors=True)
                with suppress(OSError):
                    (out / name).unlink()
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
        raise


@contextmanager
def alone(folder: Path, world: World) -> Iterator[None]:
    """Only one job at a time trains into a run folder."""
    lock = FileLock(folder / ".lock", timeout=0)

    def acquire() -> None:
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"Another process is training {folder} right now.") from None

    world.once(acquire)
    try:
        yield
    finally:
        if world.first:
            lock.release()
            (folder / ".lock").unlink(missing_ok=True)


def check_room(out: Path, table: Spec, averaged: bool) -> None:
    """Best weights, and a checkpoint of weights, their average where there is one, and two moments, now and one step
    back; each beside its successor.
    """
    parameters = sum(p.numel() for p in table.layers[-1].module.parameters())
    needed, free = (18 if averaged else 14) * 4 * parameters + (16 << 20), shutil.disk_usage(out).free
    if free < needed:
        raise StorageError(
            f"{out} has {free / 1e6:,.0f} MB left; a run of {table.name} needs {needed / 1e6:,.0f} MB. "
            "Make room there, or choose another place with --out."
        )


def write_run(
    out: Path, data: str, recipe: Recipe, table: Spec, view: View, prepared: Prepared, origin: dict[str, str]
) -> None:
    """Everything that a later `--resume` needs, `run.json` last and at once: a run folder with it can go on."""
    train = prepared.splits["train"]
    prior = np.bincount(train.targets, minlength=len(prepared.labels)) / len(train)
    write_atomically(out / "split.csv", _split_table(prepared))
    write_atomically(out / "spec.json", table.to_json() + "\n")
    write_atomically(out / "labels.json", json.dumps(prepared.labels))
    Run(out, origin).update(
        version=VERSION,
        status="running",
        name=prepared.name,
        data=lasting_address(data),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        recipe=recipe.to_json(),
        policy=str(read_policy(recipe.augment).allowing(recipe.crop, recipe.flip)),
        view=asdict(view),
        fingerprint=prepared.fingerprint,
        prior=prior.tolist(),
        splits={name: len(pictures) for name, pictures in prepared.splits.items()},
        bad_files=[asdict(file) for file in prepared.bad],
        notes=prepared.notes,
    )


def _split_table(prepared: Prepared) -> str:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["split", "digest", "label", "path"])
    table.writerows([s, p.digest, p.label, p.path] for s, part in prepared.splits.items() for p in part.pictures)
    return text.getvalue()


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("convista", "torch", "numpy", "pillow")}
    machine = f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"
    return packages | {"python": platform.python_version(), "machine": machine}
