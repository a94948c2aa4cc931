"""The main job: from pictures in class folders to a run folder with a trained, judged network."""

from __future__ import annotations

import base64
import csv
import errno
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from convista.blocks import Spec
from convista.data import (
    Pictures,
    Prepared,
    Source,
    channel_statistics,
    complete,
    flip_changes_class,
    lasting_address,
    open_cache,
    open_source,
    prepare,
    read_policy,
    reasons,
    stored_side,
    user_cache,
)
from convista.devices import pick_device
from convista.errors import DataError, InputError, RunError, StorageError
from convista.files import make_folder, shown, storage_error, without_secrets, write_atomically
from convista.records import Recipe, View
from convista.tasks.network import network_of, trained_table
from convista.tasks.restart import job_of_torchrun, left_behind
from convista.tasks.run import VERSION, Run
from convista.tasks.start import check_start, write_start
from convista.training import (
    Console,
    Training,
    Where,
    World,
    check_tensorboard,
    logits_of,
    score,
    softmax,
    watching,
    with_defaults,
)
from convista.training.board import Watch

__all__ = ["Place", "fast_precision", "resume_classifier", "train_classifier"]

OURS = {"split.csv", "spec.json", "labels.json", "cache"}  # what a run folder holds before run.json is there
MISTAKES = 24  # pictures kept for the report
THUMBNAIL = 112  # pixels a side


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


def train_classifier(data: str, recipe: Recipe, place: Place, console: Console, world: World) -> Run:
    """Trains a classifier on `data` and judges it. Raises `InputError` of the kind that fits before anything is left.

    The run folder is made first, to be sure of it, and taken away again if the data or the recipe turn out unusable.
    """
    network_of(recipe)
    read_policy(recipe.augment)
    device = pick_device(place.device)
    if place.tensorboard:
        check_tensorboard()
    if recipe.batch < world.size:
        raise InputError(f"A batch of {recipe.batch} cannot be shared by {world.size} processes.")
    source = world.together(lambda: open_source(data))
    begun = world.once(lambda: left_behind(place.out, source.name, console.command))
    if begun is not None:
        return _go_on(begun, data, place, console, world)
    out = world.once(lambda: _free_folder(place.out, source.name))
    with _undone_on_error(out, world):
        world.once(lambda: make_folder(out))
        recipe, table, stored = world.once(lambda: _decide(recipe, source, device))
        prepared = _prepare_once(source, out, table, stored, recipe, console, world)
        _refuse_if_strict(prepared, place.strict)
        table = trained_table(recipe, len(prepared.labels), console if world.first else None)
        check_start(table, recipe)
        view, recipe = world.once(lambda: _seen(recipe, table, stored, prepared))
        world.once(lambda: _check_room(out, table, averaged=recipe.ema > 0))
        origin = {"command": without_secrets(console.command), "device": place.device, "job": job_of_torchrun()}
        world.once(lambda: _write_run(out, data, recipe, table, view, prepared, origin))
    return _learn(world.once(lambda: Run.load(out)), prepared, place, device, console, world)


def resume_classifier(path: str | os.PathLike[str], place: Place, console: Console, world: World) -> Run:
    """Goes on with a run from its last checkpoint, to the same end. Raises `RunError` when the data has changed."""
    run = world.once(lambda: Run.load(path))
    return _go_on(run, run.info["data"], place, console, world)


def _go_on(run: Run, data: str, place: Place, console: Console, world: World) -> Run:
    if run.done:
        console.say(f"{run.path} is trained to its end already.")
        return run
    source, table = world.together(lambda: open_source(data)), world.once(lambda: run.spec)
    prepared = _prepare_once(source, run.path, table, run.view.stored, run.recipe, console, world)
    if prepared.fingerprint != run.info["fingerprint"]:
        raise RunError(
            f"The pictures in {run.info['data']} are not those that {run.path} began with, so it cannot go on as if "
            "nothing had happened. Put them back, or start a new run."
        )
    device = pick_device(run.info["device"] if place.device == "auto" else place.device)
    return _learn(run, prepared, place, device, console, world)


def _learn(run: Run, prepared: Prepared, place: Place, device: torch.device, console: Console, world: World) -> Run:
    """Training, then judgement of the best weights in full precision. Only the first process needs the run folder."""
    with torch.random.fork_rng(devices=[]), _alone(run.path, world), _watched(run, place, world) as watch:
        torch.manual_seed(run.recipe.seed)
        splits, where = prepared.splits, Where(run.path, device, world, place.checkpoint_seconds, watch)
        net = world.once(lambda: run.spec)()
        if world.once(lambda: not (run.path / "last.ckpt").exists()):
            write_start(net, run.recipe, splits["train"], run.view, device)
        training = Training(net, splits["train"], splits["val"], run.view, run.recipe, where, console)
        training.load()
        history = training.run()
        best = world.once(lambda: Run.load(run.path).net).to(device)
        judged = {split: logits_of(best, splits[split], run.view, device, world) for split in ("val", "test")}
    if not world.first:
        return run
    prior = np.array(run.info["prior"])
    scores = {name: score(logits, splits[name].targets, run.labels, prior) for name, logits in judged.items()}
    write_atomically(run.path / "mistakes.json", json.dumps(_mistakes(judged["test"], splits["test"], run)))
    return run.update(
        status="done",
        epochs=len(history),
        best_epoch=training.state.best_epoch,
        seconds=round(sum(row.seconds for row in history), 2),
        val=asdict(scores["val"]),
        test=asdict(scores["test"]),
    )


def _watched(run: Run, place: Place, world: World) -> AbstractContextManager[Watch]:
    """TensorBoard where it was asked for, now or when the run began."""
    folder = run.path / "tensorboard"
    if world.first and (place.tensorboard or folder.is_dir()):
        return watching(folder)
    return nullcontext(lambda history: None)


def _decide(recipe: Recipe, source: Any, device: torch.device) -> tuple[Recipe, Spec, int]:
    """Fills in what the recipe leaves open. Raises `InputError` for sizes that the network cannot take."""
    own = network_of(recipe)
    image, channels = recipe.image or own.image, recipe.channels or own.channels
    if channels not in (1, 3):
        raise InputError(f"channels={channels} was given; pictures have 1 (grey) or 3 (colour).")
    table = network_of(recipe, None, channels, image)
    decided = with_defaults(recipe).with_(
        image=image,
        channels=channels,
        precision=fast_precision(device) if recipe.precision == "auto" else recipe.precision,
    )
    return decided, table, stored_side(source, image)


def fast_precision(device: torch.device) -> str:
    """bfloat16 where the processor multiplies it in hardware; measured in docs/results/precision.md."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    able = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in able) else "fp32"


def _prepare_once(
    source: Source, out: Path, table: Spec, stored: int, recipe: Recipe, console: Console, world: World
) -> Prepared:
    """Every process gets the same pictures; the first one reads them all, and one on each other host what it lacks."""
    shape = (stored, stored, table.channels)
    folders = (user_cache(), out / "cache") if world.first or out.exists() else (user_cache(),)
    cache = open_cache(folders, stored, table.channels)
    prepared = None

    def look() -> dict[str, Any]:
        nonlocal prepared
        prepared = prepare(source, stored, table.channels, recipe.seed, cache, console.reading, recipe.limit)
        return prepared.told()

    told = world.once(look)
    if world.size > 1:
        reads = not world.first and os.environ.get("LOCAL_RANK", "0") == "0"
        world.together(lambda: complete(told, source, stored, table.channels, cache) if reads else None)
    prepared = prepared or Prepared.retold(told, source, cache, shape)
    if world.first:
        sizes = ", ".join(f"{len(pictures):,} {name}" for name, pictures in prepared.splits.items())
        console.say(f"{prepared.name}: {len(prepared.labels)} classes, {sizes}. {reasons(prepared.bad)}".rstrip())
        loose = sum(int((pictures.rows < 0).sum()) for pictures in prepared.splits.values())
        if loose:
            console.say(f"{loose:,} pictures do not fit into the cache and are decoded in every epoch.")
    return prepared


@contextmanager
def _alone(folder: Path, world: World) -> Iterator[None]:
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


def _refuse_if_strict(prepared: Prepared, strict: bool) -> None:
    if strict and prepared.bad:
        listed = "".join(f"\n  {shown(file.path)}: {file.reason}" for file in prepared.bad[:20])
        more = f"\n  and {len(prepared.bad) - 20} more" if len(prepared.bad) > 20 else ""
        raise DataError(f"--strict was asked for, and {len(prepared.bad)} files are not usable:{listed}{more}")


def _seen(recipe: Recipe, table: Spec, stored: int, prepared: Prepared) -> tuple[View, Recipe]:
    """How the network sees pictures, and the recipe with its augmentation in full.

    There are no mirrors where they would change the class.
    """
    view = View(table.image, stored, table.channels, *channel_statistics(prepared.splits["train"]))
    flip = False if recipe.flip is None and flip_changes_class(prepared.labels) else recipe.flip
    return view, recipe.with_(augment=str(read_policy(recipe.augment).allowing(recipe.crop, flip)))


def _check_room(out: Path, table: Spec, averaged: bool) -> None:
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


def _write_run(
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


def _mistakes(logits: NDArray[np.float64], pictures: Pictures, run: Run) -> list[dict[str, Any]]:
    """The most confident wrong answers, with thumbnails."""
    probabilities = softmax(logits)
    said, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(said != pictures.targets)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [
        {
            "path": pictures.pictures[i].path,
            "label": run.labels[pictures.targets[i]],
            "said": run.labels[said[i]],
            "probability": float(confidence[i]),
            "thumbnail": _thumbnail(pictures[int(i)]),
        }
        for i in worst
    ]


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels.squeeze())
    if image.width < THUMBNAIL:
        scale = -(-THUMBNAIL // image.width)
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


def _free_folder(out: Path | None, name: str) -> Path:
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
    unfinished = "run.json" in held and not Run.load(out).done
    hint = f"Go on with: convista train --resume {out}" if unfinished else "Choose another --out."
    raise RunError(f"The output folder {out} is not empty. {hint}")


@contextmanager
def _undone_on_error(out: Path, world: World) -> Iterator[None]:
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
