"""From pictures without labels to a run folder whose network others begin with: `train … --from RUN`."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convista.blocks import Spec
from convista.data import (
    NO_LABELS,
    Pictures,
    Prepared,
    Source,
    UnlabelledSource,
    channel_statistics,
    list_pictures,
    open_source,
    read_policy,
    some_of_each,
)
from convista.devices import pick_device
from convista.errors import DataError, InputError, RunError
from convista.feature_recipes import SelfRecipe
from convista.files import make_folder, without_secrets
from convista.models import save_weights
from convista.recipe import Recipe
from convista.records import Epoch, Preprocessing, View
from convista.selfsup.encoder import Encoder, Learner, moco_head, simclr_head
from convista.selfsup.judge import ALL, BANK, Judge, Pixels
from convista.selfsup.loop import SelfTraining
from convista.tasks import Place, Run
from convista.tasks.folder import check_room, free_folder, undone_on_error, write_run
from convista.tasks.learning import at_work, ended, trained
from convista.tasks.network import network_of
from convista.tasks.preparing import decide, prepare_once, refuse_if_strict
from convista.tasks.restart import job_of_torchrun, left_behind, prepare_again
from convista.tasks.verdict import close
from convista.training import (
    Console,
    Where,
    World,
    check_shares,
    check_statistics,
    check_tensorboard,
    launch_of_torchrun,
    recalibrate,
)
from convista.transfer import Probe, probe_of
from convista.transfer.probe import accuracy
from convista.transfer.trunk import check_head

__all__ = ["pretrain_network", "resume_pretraining"]

HEADS = {"simclr": simclr_head, "moco": moco_head}
DECIDED = ("image", "channels", "precision", "lr", "weight_decay")


def pretrain_network(data: str, asked: SelfRecipe, place: Place, console: Console, world: World) -> Run:
    """Learns features of `data` and, where folders name classes, judges them.

    Raises `InputError` of the kind that fits before anything is left.
    """
    network_of(asked.recipe)
    read_policy(asked.augment or "simclr")
    device = pick_device(place.device)
    if place.tensorboard:
        check_tensorboard()
    if asked.batch < world.size:
        raise InputError(f"A batch of {asked.batch} cannot be shared by {world.size} processes.")
    source = world.together(lambda: _opened(data, asked.labels))
    begun = world.once(lambda: left_behind(place.out, source.name, console.command))
    if begun is not None:
        return _go_on(begun, source, place, console, world)
    out = world.once(lambda: free_folder(place.out, source.name))
    with undone_on_error(out, world):
        world.once(lambda: make_folder(out))
        recipe, table, stored = world.once(lambda: decide(asked.recipe, source, device))
        prepared = prepare_once(source, out, table.channels, stored, recipe, console, world)
        refuse_if_strict(prepared, place.strict)
        asked = replace(asked, **{word: getattr(recipe, word) for word in DECIDED})
        asked = asked.decided(table.image, len(prepared.splits["train"]))
        table = _checked_table(asked.recipe, prepared, world)
        view = world.once(partial(_view, table, stored, prepared))
        world.once(lambda: check_room(out, table, averaged=asked.method == "moco"))
        origin: dict[str, Any] = {"command": without_secrets(console.command), "device": place.device}
        origin |= {"job": job_of_torchrun(), "pretrain": asked.to_json()}
        world.once(lambda: write_run(out, data, asked.recipe, table, view, prepared, origin))
    return _learn(world.once(lambda: Run.load(out)), prepared, place, device, console, world)


def resume_pretraining(path: str | os.PathLike[str], place: Place, console: Console, world: World) -> Run:
    """Goes on with a run from its last checkpoint, to the same end. Raises `RunError` when the data has changed."""
    run = world.once(lambda: Run.load(path))
    if run.verb != "pretrain":
        raise RunError(f"{run.path} was made by {run.verb}. {run.how_on}")
    labelled = run.labels != NO_LABELS
    return _go_on(run, world.together(lambda: _opened(run.info["data"], labelled)), place, console, world)


def _go_on(run: Run, source: Source, place: Place, console: Console, world: World) -> Run:
    if ended(run, console):
        return run
    prepared = prepare_again(run, source, console, world)
    device = pick_device(run.info["device"] if place.device == "auto" else place.device)
    return _learn(run, prepared, place, device, console, world)


def _opened(data: str, labels: bool) -> Source:
    """The pictures, with their classes where folders name several and they are asked for."""
    source = open_source(data)
    if not labels:
        return UnlabelledSource(source)
    try:
        entries, _ = list_pictures(source, needs_train=False)
    except DataError:  # no class folders, or nothing at all
        return UnlabelledSource(source)
    return source if len({entry.label for entry in entries}) > 1 else UnlabelledSource(source)


def _checked_table(recipe: Recipe, prepared: Prepared, world: World) -> Spec:
    """The network's table. Raises `InputError` where it, or the batch, cannot be shared by the processes, or where it
    has no classifier that a probe can become.
    """
    table = network_of(recipe, len(prepared.labels), recipe.channels, recipe.image)
    check_shares(len(prepared.splits["train"]), recipe, world)
    if world.size > 1:
        check_statistics(table.layers[-1].module)  # which has shapes only
    with torch.random.fork_rng(devices=[]):
        check_head(table(), table.channels, table.image, recipe.model)
    return table


def _view(table: Spec, stored: int, prepared: Prepared) -> View:
    return View(table.image, stored, table.channels, *channel_statistics(prepared.splits["train"]))


def _learn(run: Run, prepared: Prepared, place: Place, device: torch.device, console: Console, world: World) -> Run:
    """Learning, then judgement of the last weights in full precision. Only the first process needs the run folder."""
    with at_work(run, place, device, world) as watch:
        asked, splits = SelfRecipe.of(**run.info["pretrain"]), prepared.splits
        run = world.once(partial(run.update, launch=launch_of_torchrun()))  # which a restart will know it by
        encoder = Encoder(world.once(lambda: run.spec)())
        learner = Learner(encoder, HEADS[asked.method](encoder.width, asked.projection))
        where = Where(run.path, device, world, place.checkpoint_seconds, watch)
        training = SelfTraining(
            learner,
            splits["train"],
            splits["val"],
            run.view,
            asked.recipe,
            where,
            console,
            asked=asked,
            labels=prepared.labels,
        )
        run = _with_floors(run, training, splits["test"])
        training.load()
        history = trained(training, run, world)
        if prepared.labels == NO_LABELS:
            return world.once(lambda: _kept(run, encoder, None).update(**_ended(history)))
        return _judged(run, training, prepared, history)


def _judges(training: SelfTraining, test: Any) -> dict[str, Judge]:
    """Who asks about the validation pictures, as while it learns, and about the test pictures, where more may vote."""
    whole = Judge(training.train, test, training.view, training.device, training.world, len(training.labels), most=ALL)
    return {"val": replace(whole, asked=training.val, most=BANK), "test": whole}


def _with_floors(run: Run, training: SelfTraining, test: Any) -> Run:
    """What the network's features are worth before it has learned anything, and what pixels are worth, is noted."""
    if training.labels == NO_LABELS:
        training.tell("No labels: nothing is judged while it learns. Two folders of pictures or more would be classes.")
        return run
    if "floors" in run.info:
        return run
    world, judges = training.world, _judges(training, test)
    random = copy.deepcopy(training.net.encoder)
    recalibrate(random, training.train, training.view, training.device, world)  # running statistics are still blank
    found: dict[str, dict[str, float]] = {}
    for name, encoder in (("random", random), ("pixels", Pixels())):
        found[name] = {split: judge.neighbours(encoder) for split, judge in judges.items()}
    known = _known(training)
    features, asked = (judges["test"].features(random, pictures) for pictures in (known, test))
    found["random"]["probe"] = world.once(lambda: accuracy(_probed(features, known, training)(asked), test.targets))
    training.tell(
        f"Floors, kNN on validation pictures: {found['random']['val']:.3f} by the same network before it learns, "
        f"{found['pixels']['val']:.3f} by pixels."
    )
    return world.once(lambda: run.update(floors=found))


def _judged(run: Run, training: SelfTraining, prepared: Prepared, history: list[Epoch]) -> Run:
    """The neighbours' vote and a linear probe, which becomes the network's last layer."""
    encoder, world, splits = training.net.encoder, training.world, prepared.splits
    judges = _judges(training, splits["test"])
    top1 = {split: judge.neighbours(encoder) for split, judge in judges.items()}
    known = splits | {"train": _known(training)}
    features = {name: judges["test"].features(encoder, pictures) for name, pictures in known.items()}
    if not world.first:
        return run
    _tell_of_floors(run, top1["val"], training)
    probe = _probed(features["train"], known["train"], training)
    judged = {name: probe(features[name]).astype(np.float64) for name in ("val", "test")}
    run = _kept(run, encoder, probe.linear())
    return close(run, judged, splits, history, len(history), training.console, knn=top1, probe=str(probe))


def _tell_of_floors(run: Run, top1: float, training: SelfTraining) -> None:
    """Says where nothing was gained, so that nobody builds on it unawares."""
    floors = {"pixels": "plain pixels", "random": "the same network before it learned"}
    for name, what in floors.items():
        if top1 <= run.info["floors"][name]["val"]:
            training.tell(
                f"Caution: kNN on validation pictures is {top1:.3f}, no better than by {what} "
                f"({run.info['floors'][name]['val']:.3f}). More --epochs, more pictures or another --lr may help."
            )


def _known(training: SelfTraining) -> Pictures:
    """The training pictures that a probe learns from: 10,000 at most, of each class equally many where it has them."""
    return training.train.only(some_of_each(training.train.targets, BANK, training.recipe.seed))


def _probed(features: Any, known: Pictures, training: SelfTraining) -> Probe:
    """Of features (n, D) of these pictures."""
    return probe_of(features, known.targets, len(training.labels), training.recipe.seed, known.contents)


def _kept(run: Run, encoder: Encoder, head: nn.Linear | None) -> Run:
    """Writes the encoder's weights with this last layer; with one of zeros where there are no labels."""
    net, state = run.spec(), dict(encoder.net.state_dict())
    last = {name: value for name, value in net.state_dict().items() if name not in state}
    for name, value in last.items():
        own: Tensor = torch.zeros_like(value) if head is None else getattr(head, name.rpartition(".")[2]).detach()
        state[name] = own.view_as(value)
    net.load_state_dict(state)
    view = run.view
    if hasattr(net, "preprocessing"):
        net.preprocessing = Preprocessing(view.image, view.stored, view.mean, view.std)
    save_weights(net, run.path / "model.safetensors")
    return run


def _ended(history: list[Epoch]) -> dict[str, Any]:
    seconds = round(sum(row.seconds for row in history), 2)
    return {"status": "done", "epochs": len(history), "best_epoch": len(history), "seconds": seconds}
