"""The main job: from pictures in class folders to a run folder with a trained, judged network."""

from __future__ import annotations

import os
import statistics
from functools import partial

import torch

from convista.data import (
    Policy,
    Prepared,
    mirrors_note,
    open_source,
    read_policy,
)
from convista.devices import pick_device
from convista.errors import InputError, RunError
from convista.files import make_folder, without_secrets
from convista.recipe import Recipe
from convista.records import Epoch
from convista.tasks.folder import check_room, free_folder, undone_on_error, write_run
from convista.tasks.learning import Place, at_work, ended, trained
from convista.tasks.network import network_of, trained_table
from convista.tasks.preparing import decide, prepare_once, refuse_if_strict, seen_as
from convista.tasks.restart import job_of_torchrun, left_behind, prepare_again
from convista.tasks.run import Run
from convista.tasks.start import check_start, write_start
from convista.tasks.verdict import close
from convista.training import (
    Console,
    Training,
    Where,
    World,
    check_compiler,
    check_shares,
    check_statistics,
    check_tensorboard,
    freeze_whitened,
    launch_of_torchrun,
    logits_of,
    measured_peak,
)

__all__ = ["resume_classifier", "train_classifier"]

WORTH_MEASURING = 60  # seconds of training


def train_classifier(data: str, recipe: Recipe, place: Place, console: Console, world: World) -> Run:
    """Trains a classifier on `data` and judges it. Raises `InputError` of the kind that fits before anything is left.

    The run folder is made first, to be sure of it, and taken away again if the data or the recipe turn out unusable.
    """
    network_of(recipe)
    read_policy(recipe.augment)
    device = pick_device(place.device)
    if recipe.compile:
        check_compiler(device)
    if place.tensorboard:
        check_tensorboard()
    if recipe.batch < world.size:
        raise InputError(f"A batch of {recipe.batch} cannot be shared by {world.size} processes.")
    source = world.together(lambda: open_source(data))
    begun = world.once(lambda: left_behind(place.out, source.name, console.command))
    if begun is not None:
        return _go_on(begun, data, place, console, world)
    out = world.once(lambda: free_folder(place.out, source.name))
    with undone_on_error(out, world):
        world.once(lambda: make_folder(out))
        recipe, table, stored = world.once(lambda: decide(recipe, source, device))
        prepared = prepare_once(source, out, table.channels, stored, recipe, console, world)
        refuse_if_strict(prepared, place.strict)
        table = trained_table(recipe, len(prepared.labels), console if world.first else None)
        check_start(table, recipe)
        check_shares(len(prepared.splits["train"]), recipe, world)
        if world.size > 1:
            check_statistics(table.layers[-1].module)  # which has shapes only
        asked = recipe.flip
        view, recipe = world.once(lambda: seen_as(recipe, table, stored, prepared))
        if world.first and asked is None and recipe.flip is False:
            console.say(mirrors_note(None, Policy(), prepared.labels))
        world.once(lambda: check_room(out, table, averaged=recipe.ema > 0))
        origin = {"command": without_secrets(console.command), "device": place.device, "job": job_of_torchrun()}
        world.once(lambda: write_run(out, data, recipe, table, view, prepared, origin))
    return _learn(world.once(lambda: Run.load(out)), prepared, place, device, console, world)


def resume_classifier(path: str | os.PathLike[str], place: Place, console: Console, world: World) -> Run:
    """Goes on with a run from its last checkpoint, to the same end. Raises `RunError` when the data has changed."""
    run = world.once(lambda: Run.load(path))
    if run.verb != "train":
        raise RunError(f"{run.path} was made by {run.verb}. {run.how_on}")
    return _go_on(run, run.info["data"], place, console, world)


def _go_on(run: Run, data: str, place: Place, console: Console, world: World) -> Run:
    if ended(run, console):
        return run
    prepared = prepare_again(run, world.together(lambda: open_source(data)), console, world)
    device = pick_device(run.info["device"] if place.device == "auto" else place.device)
    return _learn(run, prepared, place, device, console, world)


def _learn(run: Run, prepared: Prepared, place: Place, device: torch.device, console: Console, world: World) -> Run:
    """Training, then judgement of the best weights in full precision. Only the first process needs the run folder."""
    with at_work(run, place, device, world) as watch:
        run = world.once(partial(run.update, launch=launch_of_torchrun()))  # which a restart will know it by
        splits, where = prepared.splits, Where(run.path, device, world, place.checkpoint_seconds, watch)
        if world.first and run.recipe.compile:
            console.say("Compiling the network: the first steps take a while.")
        net = world.once(lambda: run.spec)()
        if world.once(lambda: not (run.path / "last.ckpt").exists()):
            write_start(net, run.recipe, splits["train"], run.view, device)
        freeze_whitened(net, run.recipe)
        training = Training(net, splits["train"], splits["val"], run.view, run.recipe, where, console)
        training.load()
        history = trained(training, run, world)
        best = world.once(lambda: Run.load(run.path).net).to(device)
        judged = {
            split: logits_of(best, splits[split], run.view, device, world, None, run.recipe.views)
            for split in ("val", "test")
        }
    if not world.first:
        return run
    done = close(run, judged, splits, history, training.state.best_epoch, console)
    return done.update(work=_work(done, history, device, world, console))


def _work(run: Run, history: list[Epoch], device: torch.device, world: World, console: Console) -> dict[str, float]:
    """Multiply-accumulates a second in training, and a large product's here; empty where training was soon over."""
    short = sum(row.seconds for row in history) < WORTH_MEASURING
    if device.type == "cpu" and (short or run.recipe.precision == "fp16"):  # which a processor only emulates
        return {}
    used = 3 * run.cost.macs * statistics.median(row.pictures_per_second for row in history) / world.size
    peak = measured_peak(device, run.recipe.precision)
    console.say(
        f"work: {used / 1e9:,.0f} billion multiply-accumulates/s, {used / peak:.0%} of what a large matrix product "
        f"reaches here ({peak / 1e9:,.0f})."
    )
    return {"macs_per_second": round(used), "peak_macs_per_second": round(peak), "share_of_peak": round(used / peak, 4)}
