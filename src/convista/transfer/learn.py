"""A network for one's own pictures in a minute: the features of a pretrained one, computed once, and a head on them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convista.data import Pictures, Prepared, flip_changes_class, open_source, read_policy, some_of_each, user_cache
from convista.devices import pick_device
from convista.errors import InputError, InterruptedRunError, RunError
from convista.files import make_folder, without_secrets, write_atomically
from convista.models import save_weights, spec
from convista.recipe import Recipe
from convista.records import Epoch, Preprocessing
from convista.tasks import Place, Run
from convista.tasks.folder import free_folder, undone_on_error, write_run
from convista.tasks.learning import at_work, ended, trained
from convista.tasks.ledger import Ledger
from convista.tasks.preparing import fast_precision, prepare_once, refuse_if_strict
from convista.tasks.sweep import Way
from convista.tasks.verdict import close
from convista.training import Console, Where, World, default_lr, logits_of, with_defaults
from convista.training.state import epochs_csv
from convista.transfer.adapt import adapted, check_adaptation
from convista.transfer.extract import UNKEPT, Features, Views, features_of
from convista.transfer.head import HeadEpoch, HeadRecipe, train_head
from convista.transfer.logistic import probe_of
from convista.transfer.plan import Plan, Situation, check_words, depends_on_distance, planned, words_of_tuning
from convista.transfer.pretrained import Pretrained, is_run, pretrained
from convista.transfer.probe import Probe
from convista.transfer.shift import shift
from convista.transfer.store import fingerprint
from convista.transfer.table import KEPT
from convista.transfer.trunk import Trunk, check_head, last_layer
from convista.transfer.tuning import tuning

__all__ = ["Start", "resume_from", "start_of", "sweep_start", "train_from", "way_from"]

DROPOUT = 0.5  # of features while a head learns, if no other share is asked for
PROBED = 20_000  # pictures that the probe learns from, at most; the head behind it learns from all
GENTLE = 0.1  # of the rate of training from scratch, where a trained network learns further
DECAY = 0.7  # of that rate from each stage back to the one before it


@dataclass(frozen=True)
class Start:
    """What is begun with: `source` is a network's name or a run, `weights` a file or name of weights (the published
    ones if not given), `views` how many looks of each training picture are kept, `adapt` how the network is brought
    nearer to the training pictures first (see `adapted`).
    """

    source: str
    weights: str | None = None
    views: int = 4
    adapt: str = "none"

    def __post_init__(self) -> None:
        check_adaptation(self.adapt)


def train_from(data: str, start: Start, recipe: Recipe, place: Place, console: Console, world: World) -> Run:
    """Learns a head on the features of a pretrained network, more of it as planned, and leaves a run folder.

    Raises `WeightsError` where the weights cannot be had, and all that `train_classifier` raises.
    """
    _check_alone(world)
    device, source = pick_device(place.device), open_source(data)
    base = pretrained(start.source, start.weights)
    check_head(base.net, base.view.channels, base.view.image, base.model)
    check_words(base.net, recipe)
    out = free_folder(place.out, source.name)
    with undone_on_error(out, world):
        make_folder(out)
        words, begun = words_of_tuning(recipe), fingerprint(base.net)
        recipe = _decided(recipe, base, device)
        prepared = prepare_once(source, out, base.view.channels, base.view.stored, recipe, console, world)
        refuse_if_strict(prepared, place.strict)
        base = adapted(base, prepared.splits["train"], start.adapt, device)
        if recipe.flip is None and flip_changes_class(prepared.labels):
            recipe = recipe.with_(flip=False)
        net = base.for_classes(len(prepared.labels))
        table = getattr(net, "spec", None) or spec(base.model, len(prepared.labels))
        origin: dict[str, Any] = {"command": without_secrets(console.command), "device": place.device, "job": ""}
        origin |= {"from": asdict(start), "base": begun, "unused": words}
        write_run(out, data, recipe, table, base.view, prepared, origin)
        cautions = list(_leaks(base.run, prepared))
        for caution in cautions:
            console.say(caution)
        run = Run.load(out).update(cautions=cautions)
    return _learn(run, base, net, prepared, place, device, console)


def resume_from(path: str | os.PathLike[str], place: Place, console: Console, world: World) -> Run:
    """Ends what `train_from` began; features that are kept already are found again."""
    _check_alone(world)
    run = Run.load(path)
    if ended(run, console):
        return run
    start, device = (
        Start(**run.info["from"]),
        pick_device(run.info["device"] if place.device == "auto" else place.device),
    )
    base = pretrained(start.source, start.weights)
    if fingerprint(base.net) != run.info["base"]:
        raise RunError(f"{start.source} has other weights than when {run.path} began with it: start a new run.")
    source = open_source(run.info["data"])
    prepared = prepare_once(source, run.path, base.view.channels, base.view.stored, run.recipe, console, world)
    if prepared.fingerprint != run.info["fingerprint"]:
        raise RunError(f"The pictures in {run.info['data']} are not those that {run.path} began with: start a new run.")
    base = adapted(base, prepared.splits["train"], start.adapt, device)
    return _learn(run, base, base.for_classes(len(prepared.labels)), prepared, place, device, console)


def _check_alone(world: World) -> None:
    if world.size > 1:
        raise InputError("--from learns on cached features, in one process: leave torchrun out.")


def _leaks(run: Run | None, prepared: Prepared) -> Iterator[str]:
    """Says how many of the pictures that judge the network has learned from already, or was chosen by."""
    if run is None:
        return
    splits = run.info["splits"]
    cure = "Give the same --seed and --limit, or other pictures." if splits["test"] else "Only other pictures can tell."
    for split, harm in (("test", "the test will look"), ("val", "what is chosen by validation will seem")):
        seen = run.knows(prepared.splits[split].digests, "train", "val" if split == "test" else "train")
        if seen:
            called = {"val": "validation"}.get(split, split)
            yield (
                f"Caution: {seen:,} of the {len(prepared.splits[split]):,} {called} pictures are among those that "
                f"{run.path} learned from or was chosen by, so {harm} better than it is. {cure}"
            )


def start_of(
    source: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str] | None,
    adapt: str | None = None,
    recipe: str | os.PathLike[str] | None = None,
) -> Start | None:
    """What the words `from_`, `weights` and `adapt` say, or else the run that is the recipe. Raises `InputError`."""
    if source is None and weights is None and adapt is None and recipe is not None and is_run(os.fspath(recipe)):
        begun = Run.load(recipe).info.get("from")
        return None if begun is None else Start(**begun)
    if source is None and (weights is not None or adapt is not None):
        word, said = ("adapt", adapt) if weights is None else ("weights", os.fspath(weights))
        raise InputError(f"--{word} {said} was given without --from, which says of which network.")
    if source is None:
        return None
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"from_={source!r} was given; expected a network's name or a run folder.")
    source = str(Path(source).resolve()) if is_run(os.fspath(source)) else os.fspath(source)
    if weights is not None:
        weights = str(Path(weights).resolve()) if Path(weights).exists() else os.fspath(weights)
    return Start(source, weights, adapt=adapt or "none")


def sweep_start(path: str | os.PathLike[str]) -> Start | None:
    """What the runs of a sweep begin with, if it is a pretrained network. Raises `RunError` for what is no sweep."""
    begun = Ledger.load(Path(path)).info.get("from")
    return None if begun is None else Start(**begun)


def way_from(start: Start) -> Way:
    """How a run of a sweep begins with a pretrained network."""

    def train(data: str, recipe: Recipe, place: Place, console: Console, world: World) -> Run:
        return train_from(data, start, recipe, place, console, world)

    base = cache(lambda: pretrained(start.source, start.weights))

    def check(recipe: Recipe) -> None:
        read_policy(recipe.augment)
        check_words(base().net, recipe)

    return Way(train, resume_from, check, {"from": asdict(start)})


def _decided(recipe: Recipe, base: Pretrained, device: torch.device) -> Recipe:
    precision = fast_precision(device) if recipe.precision == "auto" else recipe.precision
    lr = GENTLE * default_lr(recipe) if recipe.lr is None else recipe.lr
    decay = DECAY if recipe.lr_decay_per_stage is None else recipe.lr_decay_per_stage
    return with_defaults(recipe).with_(
        model=base.model,
        image=base.view.image,
        channels=base.view.channels,
        precision=precision,
        lr=lr,
        lr_decay_per_stage=decay,
    )


def _learn(
    run: Run, base: Pretrained, net: nn.Module, prepared: Prepared, place: Place, device: torch.device, console: Console
) -> Run:
    """A probe, a head that begins as the probe, and what the plan says beyond. Features that are kept are found."""
    with at_work(run, place, device, World()) as watch, _going_on(run):
        features = {name: _seen(run, base, part, name, device, console) for name, part in prepared.splits.items()}
        start = time.perf_counter()
        head = _head(run, features, prepared)
        run = run.update(head_seconds=round(time.perf_counter() - start, 3), features=_told(features.values()))
        _put(net, head.layer)
        view = run.view
        setattr(net, "preprocessing", Preprocessing(view.image, view.stored, view.mean, view.std))  # noqa: B010
        if not (run.path / "last.ckpt").exists():
            save_weights(net, run.path / "model.safetensors")
            write_atomically(run.path / "metrics.csv", epochs_csv(head.history))
        console.say(str(head))
        plan = Plan(**run.info["planned"]) if "planned" in run.info else _plan(run, base, net, prepared, head)
        run = run.update(plan=plan.steps, planned=asdict(plan))
        console.say(plan.why)
        if not plan.first and run.info["unused"]:
            console.say(f"{', '.join(run.info['unused'])}: for what learns further than the head, so without use here.")
        if not plan.first:
            judged = {name: _logits(head.layer, features[name]) for name in ("val", "test")}
            return close(run, judged, prepared.splits, head.history, head.best, console)
        del features
        where = Where(run.path, device, World(), place.checkpoint_seconds, watch)
        training, looks = tuning(run, base, net, prepared.splits, plan, where, console)
        run = run.update(features=_added(run.info["features"], _told(looks)))
        training.begin(head.history[head.best])
        training.load()
        history = trained(training, run, World())
        if not training.state.best_epoch:
            console.say("Nothing that learned further was better on validation than the head: it is kept as it was.")
        best = Run.load(run.path).net.to(device)
        judged = {name: logits_of(best, prepared.splits[name], run.view, device) for name in ("val", "test")}
    return close(run, judged, prepared.splits, history, training.state.best_epoch, console)


@contextmanager
def _going_on(run: Run) -> Iterator[None]:
    """Who stops while pictures are looked at hears how to go on, too."""
    try:
        yield
    except InterruptedRunError as error:
        said = str(error) if "--resume" in str(error) else f"Stopped while pictures were looked at. {run.how_on}"
        raise InterruptedRunError(said) from None


def _plan(run: Run, base: Pretrained, net: nn.Module, prepared: Prepared, head: _Head) -> Plan:
    train, validation = prepared.splits["train"], head.history[head.best].val_top1
    found = Situation(len(train) / len(prepared.labels), head.probe.cross_validated, validation=validation)
    if depends_on_distance(run.recipe, found):
        found = replace(found, distance=shift(base, train).word)
    return planned(net, run.recipe, found)


def _told(features: Iterable[Features]) -> dict[str, float]:
    parts = list(features)
    return {
        "computed": sum(part.computed for part in parts),
        "reused": sum(part.reused for part in parts),
        "seconds": round(sum(part.seconds for part in parts), 3),
    }


def _added(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: round(one[name] + other[name], 3) for name in one}


def _seen(
    run: Run, base: Pretrained, pictures: Pictures, split: str, device: torch.device, console: Console
) -> Features:
    """The features of a split: several views of what is learned from; one, in full precision, of what judges."""
    recipe, learning = run.recipe, split == "train"
    views = Views.of(recipe, run.info["from"]["views"]) if learning else Views()
    trunk = Trunk(base.net, base.view, device, precision=recipe.precision if learning else "fp32")
    found = features_of(trunk, pictures, views, user_cache() / KEPT, console.reading)
    if not found.kept:
        console.say(UNKEPT)
    return found


@dataclass(frozen=True)
class _Head:
    """The probe, the layer that began as the probe and has seen all views, its epochs, and the best of them."""

    probe: Probe
    layer: nn.Linear
    history: list[Epoch]
    best: int

    def __str__(self) -> str:
        reached, accuracy = self.history[self.best], self.probe.cross_validated
        alone = math.isnan(accuracy)
        probe = "a class has one picture, so not cross-validated" if alone else f"cross-validated top-1 {accuracy:.3f}"
        return f"probe: {probe}  head: val loss {reached.val_loss:.4f} top-1 {reached.val_top1:.3f}"


def _head(run: Run, features: dict[str, Features], prepared: Prepared) -> _Head:
    train, val, classes = prepared.splits["train"], prepared.splits["val"], len(prepared.labels)
    seed, start = run.recipe.seed, time.perf_counter()
    some = some_of_each(train.targets, PROBED, seed)
    middles = features["train"].values[some, 0].astype(np.float32)
    probe = probe_of(middles, train.targets[some], classes, seed, train.contents[some])
    judged = (features["val"].values[:, 0], val.targets)
    dropout = DROPOUT if run.recipe.dropout is None else run.recipe.dropout
    how = HeadRecipe(epochs=run.recipe.epochs, mixup=run.recipe.mixup, dropout=dropout, seed=seed)
    layer, rows = train_head(features["train"].values, train.targets, classes, how, probe, judged)
    each = (time.perf_counter() - start) / len(rows)
    best = max(rows, key=lambda row: (row.val_top1 or 0.0, -(row.val_loss or 0.0))).epoch
    return _Head(probe, layer, [_epoch(row, len(train) / each, each) for row in rows], best)


def _epoch(row: HeadEpoch, speed: float, seconds: float) -> Epoch:
    """A row of `metrics.csv`; what a head does not measure is no number."""
    train, val, top1 = (math.nan if value is None else value for value in (row.train_loss, row.val_loss, row.val_top1))
    return Epoch(row.epoch, row.lr, train, math.nan, val, top1, math.nan, round(speed, 1), round(seconds, 5))


def _put(net: nn.Module, head: nn.Linear) -> None:
    """Makes the head the network's last layer, which `check_head` has looked at."""
    last = last_layer(net)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.copy_(head.weight.view_as(last.weight))
        last.bias.copy_(head.bias)


def _logits(head: nn.Linear, features: Features) -> NDArray[np.float64]:
    x = torch.from_numpy(features.values[:, 0].astype(np.float32))
    with torch.inference_mode():
        return np.asarray(head.cpu()(x).double().numpy())
