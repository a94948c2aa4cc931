"""The doctor's visit: a network or a run, a batch of real pictures or of noise, one pass, and what is wrong."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from convista.blocks import Net, Spec, weighted
from convista.data import (
    Normalise,
    Pictures,
    centre,
    channel_statistics,
    inspect,
    list_pictures,
    open_source,
    permutation,
    pictures_of,
    reasons,
    stored_side,
)
from convista.devices import pick_device
from convista.errors import DataError, InputError
from convista.models import ForeignSpec, spec
from convista.recipe import Recipe
from convista.records import View
from convista.tasks.checkup import findings_in_use
from convista.tasks.run import Run
from convista.training import Diagnosis, diagnose, initialise

__all__ = ["Patient", "examine"]

Patient = str | os.PathLike[str] | Run | Spec | ForeignSpec | nn.Module
NOISE = "noise with the spectrum of pictures"
OWN = "the run's own pictures"
SHARES = 2  # files looked at for each picture wanted, as some may be unusable


@dataclass(frozen=True)
class Seen:
    """A batch (N, C, H, W) of bytes or floats, its classes (N,), how many there are, its view, and what it is."""

    x: Tensor
    targets: Tensor | None
    classes: int | None
    view: View | None
    said: str


def examine(
    patient: Patient,
    data: str | os.PathLike[str] | tuple[Tensor, Tensor] | None,
    recipe: Recipe,
    raw: bool = False,
    device: str = "auto",
) -> Diagnosis:
    """Diagnoses a network before its first step, or a run as it is in use; nothing that was given is changed.

    `data` is what `train` takes, or a batch of your own, normalised: ((N, C, H, W), classes (N,)). Where None, a run
    sees its own pictures if they are still there, anything else noise.
    Of the recipe count `init`, `zero_last`, `image`, `channels`, `batch` and `seed`. `raw` leaves the pictures' bytes
    as they are. Raises `InputError` of the kind that fits.
    """
    patient = _opened(patient)
    if isinstance(patient, Run) and (recipe.init or recipe.zero_last or recipe.image or recipe.channels):
        raise InputError(f"{patient.path} has its weights and its view: leave out --init, --zero-last and --image.")
    if raw and ((data is None and not isinstance(patient, Run)) or isinstance(data, tuple)):
        raise InputError("raw=True leaves pictures as they are: give a folder of pictures, too.")
    place = pick_device(device)
    with _seeded(recipe.seed, place):
        channels, side = _size(patient, recipe)
        seen = (
            _of_its_own(patient, recipe, channels, side, raw)
            if data is None and isinstance(patient, Run)
            else _seen(patient, data, recipe, channels, side)
        )
        x = seen.x.to(place)
        if seen.view is not None:
            x = x.float() if raw else Normalise.of(seen.view, place)(x)
        net, name = _built(patient, recipe, seen, x)
        targets = _any_targets(net, x) if seen.targets is None else seen.targets
        found = diagnose(net, x, targets, name, seen.said + (", raw bytes" if raw else ""))
        more = findings_in_use(patient if isinstance(patient, Run) else None, found, seen.targets is not None)
        return found.with_findings([*found.findings, *more])


@contextmanager
def _seeded(seed: int, place: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _opened(patient: Patient) -> Patient:
    if isinstance(patient, str | os.PathLike):
        name = os.fspath(patient)
        if ":" not in name and ({"/", os.sep} & set(name) or Path(name).is_dir()):  # no network is called so
            return Run.load(name)
        spec(name)  # its name is known
        return name
    if not isinstance(patient, Run | Spec | ForeignSpec | nn.Module):
        raise InputError(f"A {type(patient).__name__} was given; expected a name, a run, a Spec or a torch.nn.Module.")
    return patient


def _size(patient: Any, recipe: Recipe) -> tuple[int, int]:
    """Channels and side of the pictures that the network sees."""
    table = spec(patient) if isinstance(patient, str) else getattr(patient, "spec", patient)
    if isinstance(table, Spec | ForeignSpec):
        return recipe.channels or table.channels, recipe.image or table.image
    first = next(weighted(patient), None)
    return recipe.channels or int(getattr(first, "in_channels", 3)), recipe.image or 224


def _seen(patient: Any, data: Any, recipe: Recipe, channels: int, side: int) -> Seen:
    if isinstance(data, tuple):
        if len(data) != 2 or not all(isinstance(part, Tensor) for part in data) or len(data[0]) != len(data[1]):
            raise InputError("A batch of your own is (pictures (N, C, H, W), classes (N,)), two tensors of one length.")
        x, targets = data
        return Seen(x, targets, None, None, "a batch")
    if data is None:
        return Seen(_noise(recipe.batch, channels, side), None, None, None, NOISE)
    if channels not in (1, 3):
        raise InputError(f"The network takes {channels} channels; pictures have 1 (grey) or 3 (colour).")
    source = open_source(data)
    view = patient.view if isinstance(patient, Run) else View(side, stored_side(source, side), channels)
    pictures, labels = _sample(source, view, recipe, patient.labels if isinstance(patient, Run) else None)
    if not isinstance(patient, Run):
        mean, std = channel_statistics(pictures)
        view = View(side, view.stored, channels, mean, std)
    stack = np.stack([centre(picture, view) for picture in pictures.many(np.arange(len(pictures)))])
    batch = torch.from_numpy(stack).permute(0, 3, 1, 2)
    return Seen(batch, torch.from_numpy(pictures.targets), len(labels), view, source.name)


def _of_its_own(run: Run, recipe: Recipe, channels: int, side: int, raw: bool) -> Seen:
    """What a run was trained on, where it is still there; else noise, which is never raw, and why."""
    try:
        seen = _seen(run, run.info["data"], recipe, channels, side)
    except InputError as error:
        if raw:
            raise
        why = f"{NOISE}, because {OWN} cannot be used: {error}"
        return Seen(_noise(recipe.batch, channels, side), None, None, None, why)
    return replace(seen, said=f"{seen.said}, {OWN}")


def _sample(source: Any, view: View, recipe: Recipe, known: tuple[str, ...] | None) -> tuple[Pictures, tuple[str, ...]]:
    """A batch's worth of usable pictures, drawn at random from those for training."""
    entries, _ = list_pictures(source, needs_train=known is None)
    entries = [entry for entry in entries if entry.split in (None, "train")] or entries
    labels = known or tuple(sorted({entry.label for entry in entries}))
    if strange := sorted({entry.label for entry in entries} - set(labels)):
        raise DataError(f"Class '{strange[0]}' is not one that the run knows: {', '.join(labels[:20])}.")
    order = permutation(recipe.seed, 0, len(entries))[: SHARES * recipe.batch]
    found, bad, _ = inspect(source, [entries[i] for i in order], view.stored, view.channels, None)
    if len(found) < 2:
        raise DataError(
            f"There are {len(found)} usable pictures in '{source.name}'; expected 2 or more. {reasons(bad)}"
        )
    shape = (view.stored, view.stored, view.channels)
    return pictures_of(source, None, shape, found[: recipe.batch], labels), labels


def _built(patient: Any, recipe: Recipe, seen: Seen, x: Tensor) -> tuple[nn.Module, str]:
    """The network, freshly initialised unless it was given with its weights; a copy where its weights change."""
    if isinstance(patient, Run):
        return patient.net.to(x.device), str(patient.path)
    net: nn.Module
    if isinstance(patient, str):
        table = spec(patient, seen.classes, x.shape[1], x.shape[2])
        net, name = table(), table.name
    elif isinstance(patient, nn.Module):
        name = patient.spec.name if isinstance(patient, Net) else type(patient).__name__
        net = copy.deepcopy(patient)
    else:
        net, name = patient(), patient.name
    initialise(net, recipe, lambda: _moved(net, x))
    return net.to(x.device), name


def _moved(net: nn.Module, x: Tensor) -> Tensor:
    net.to(x.device)
    return x


def _any_targets(net: nn.Module, x: Tensor) -> Tensor:
    """A class for each of the noises, in turn."""
    layers = list(weighted(net))
    width = getattr(layers[-1] if layers else None, "out_features", 2)
    return torch.arange(len(x)) % int(getattr(getattr(net, "spec", None), "classes", width))


def _noise(count: int, channels: int, side: int) -> Tensor:
    """Normal noise whose octaves have equal shares, as pictures have (Field 1987); mean 0, standard deviation 1."""
    octaves = range(int(math.log2(side)) + 1)
    maps = [torch.randn(count, channels, max(1, side >> octave), max(1, side >> octave)) for octave in octaves]
    total = torch.stack([interpolate(part, (side, side), mode="bilinear") for part in maps]).sum(0)
    return (total - total.mean()) / total.std()
