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
from collections.abc import Callable, Iterator, Sequence
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

from convista.blocks import Spec, scale_weights
from convista.data import (
    Pictures,
    Policy,
    Prepared,
    channel_statistics,
    flip_changes_class,
    open_cache,
    open_source,
    prepare,
    read_policy,
    reasons,
    stored_side,
    user_cache,
)
from convista.devices import pick_device
from convista.errors import ConvistaError, DataError, InputError, RunError, StorageError
from convista.files import make_folder, shown, storage_error, write_atomically
from convista.records import Recipe, View
from convista.tasks.network import network_of, trained_table
from convista.tasks.run import VERSION, Run
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
    source = open_source(data)
    out = world.gather(_free_folder(place.out, source.name) if world.first else None)[0]
    with _undone_on_error(out, world):
        make_folder(out)
        recipe, table, stored = _decide(recipe, source, device)
        prepared = _prepare_once(data, out, table, stored, recipe, console, world)
        _refuse_if_strict(prepared, place.strict)
        table = trained_table(recipe, len(prepared.labels), console if world.first else None)
        view = View(table.image, stored, table.channels, *channel_statistics(prepared.splits["train"]))
        recipe = recipe.with_(augment=str(_policy(recipe, prepared.labels)))
        _check_room(out, table, averaged=recipe.ema > 0)
        if world.first:
            origin = {"command": console.command, "device": place.device}
            _write_run(out, data, recipe, table, view, prepared, origin)
        world.wait()
    return _learn(Run.load(out), prepared, place, device, console, world)


def resume_classifier(path: str | os.PathLike[str], place: Place, console: Console, world: World) -> Run:
    """Goes on with a run from its last checkpoint, to the same end. Raises `RunError` when the data has changed."""
    run = Run.load(path)
    if run.done:
        console.say(f"{run.path} is trained to its end already.")
        return run
    view = run.view
    prepared = _prepare_once(run.info["data"], run.path, run.spec, view.stored, run.recipe, console, world)
    if prepared.fingerprint != run.info["fingerprint"]:
        raise RunError(
            f"The pictures in {run.info['data']} are not those that {run.path} began with, so it cannot go on as if "
            "nothing had happened. Put them back, or start a new run."
        )
    device = pick_device(run.info["device"] if place.device == "auto" else place.device)
    return _learn(run, prepared, place, device, console, world)


def _learn(run: Run, prepared: Prepared, place: Place, device: torch.device, console: Console, world: World) -> Run:
    """Training, then judgement of the best weights in full precision."""
    with torch.random.fork_rng(devices=[]), _alone(run.path, world), _watched(run, place, world) as watch:
        torch.manual_seed(run.recipe.seed)
        splits, where = prepared.splits, Where(run.path, device, world, place.checkpoint_seconds, watch)
        net = run.spec()
        scale_weights(net, run.recipe.init_scale)
        training = Training(net, splits["train"], splits["val"], run.view, run.recipe, where, console)
        training.load()
        history = training.run()
        world.wait()
        best = Run.load(run.path)
        net = best.net.to(device)
        judged = {split: logits_of(net, splits[split], run.view, device, world) for split in ("val", "test")}
    if not world.first:
        return best
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
    data: str, out: Path, table: Spec, stored: int, recipe: Recipe, console: Console, world: World
) -> Prepared:
    """Every process gets the same pictures; the first one decodes them while the others wait, or fail with it."""

    def look() -> Prepared:
        cache = open_cache((user_cache(), out / "cache"), stored, table.channels)
        reading = console.reading if world.first else None
        return prepare(open_source(data), stored, table.channels, recipe.seed, cache, reading, recipe.limit)

    prepared, error = _attempt(look) if world.first else (None, None)
    error = world.gather(error)[0]
    if error is not None:
        raise error
    prepared = prepared or look()
    if world.first:
        sizes = ", ".join(f"{len(pictures):,} {name}" for name, pictures in prepared.splits.items())
        console.say(f"{prepared.name}: {len(prepared.labels)} classes, {sizes}. {reasons(prepared.bad)}".rstrip())
        loose = sum(int((pictures.rows < 0).sum()) for pictures in prepared.splits.values())
        if loose:
            console.say(f"{loose:,} pictures do not fit into the cache and are decoded in every epoch.")
    return prepared


def _attempt(look: Callable[[], Prepared]) -> tuple[Prepared | None, ConvistaError | None]:
    try:
        return look(), None
    except ConvistaError as error:
        return None, error


@contextmanager
def _alone(folder: Path, world: World) -> Iterator[None]:
    """Only one job at a time trains into a run folder."""
    if not world.first:
        yield
        return
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"Another process is training {folder} right now.") from None
    try:
        yield
    finally:
        lock.release()
        (folder / ".lock").unlink(missing_ok=True)


def _refuse_if_strict(prepared: Prepared, strict: bool) -> None:
    if strict and prepared.bad:
        listed = "".join(f"\n  {shown(file.path)}: {file.reason}" for file in prepared.bad[:20])
        more = f"\n  and {len(prepared.bad) - 20} more" if len(prepared.bad) > 20 else ""
        raise DataError(f"--strict was asked for, and {len(prepared.bad)} files are not usable:{listed}{more}")


def _policy(recipe: Recipe, labels: Sequence[str]) -> Policy:
    """What the recipe's words on augmentation come to; no mirrors where they would change the class."""
    flip = False if recipe.flip is None and flip_changes_class(labels) else recipe.flip
    return read_policy(recipe.augment).allowing(recipe.crop, flip)


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
        data=data if data == "digits" and not Path(data).exists() else str(Path(data).resolve()),
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
        held = {entry.name for entry in out.iterdir()} if out.exists() else set()
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
