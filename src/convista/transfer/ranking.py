"""Which pretrained network for these pictures: each one's accuracy on them against its price."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convista.catalogue import Budget, catalogue
from convista.data import Pictures, Source, eval_view
from convista.devices import kept_memory
from convista.errors import InputError, OfflineError, UnknownNameError
from convista.pricing import cost, pick
from convista.training import Console
from convista.transfer.evidence import FOLDS, classified, evidence, floor_of
from convista.transfer.pretrained import Pretrained, pretrained
from convista.transfer.trunk import Trunk

__all__ = ["LeftOut", "Ranked", "Ranking", "ranking"]

MISSED = 3  # networks without weights for want of a network, after which nobody looks for more

TIMED = 32  # pictures that a network's speed is measured on


@dataclass(frozen=True)
class Ranked:
    """A network on the user's pictures: top-1 of its probe, 0..1, and the standard error; its price at `image` pixels.

    `seconds` are those that the features of 100 pictures take here. `learned`: from how many of the pictures it has
    learned before, with their classes. `front`: no other is both cheaper, in multiply-accumulates, and better.
    """

    name: str
    weights: str | None
    top1: float
    error: float
    image: int
    params: int
    macs: int
    seconds: float
    learned: int = 0
    front: bool = False


@dataclass(frozen=True)
class LeftOut:
    """A network that could not be ranked, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Ranking:
    """The networks, best first, on `pictures` of `data`; `floor` is the accuracy of always saying one class."""

    data: str
    pictures: int
    classes: int
    floor: float
    networks: tuple[Ranked, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            f"{'*' if one.front else ' '} {one.name}: top-1 {one.top1:.3f} ± {one.error:.3f}, {one.macs:,} MACs"
            for one in self.networks
        ]
        return "\n".join([self.note, *rows, *(f"not tried: {one.name}: {one.why}" for one in self.left_out)])

    @property
    def note(self) -> str:
        """What the figures mean."""
        known = "".join(
            f" Caution: {one.name} has learned from {one.learned:,} of these pictures, so it looks better than it is."
            for one in self.networks
            if one.learned
        )
        return (
            f"{self.data}: {self.pictures:,} pictures of {self.classes} classes, floor {self.floor:.3f}. top-1 of a "
            f"softmax probe of the features, {FOLDS} folds, ± its standard error; s: seconds for the features of 100 "
            f"pictures here; *: no other is both cheaper, in MACs, and better.{known}"
        )


def ranking(
    source: Source,
    networks: Sequence[str],
    budget: Budget,
    device: torch.device,
    limit: int = 2000,
    console: Console | None = None,
) -> Ranking:
    """Ranks networks by the probe's accuracy on at most `limit` pictures of a source; features are kept.

    `networks` are names, `NAME=WEIGHTS` (a file, or a name that `create` knows) and run folders; none for all of the
    catalogue with published weights. Those whose weights cannot be had, or that the budget excludes, are listed with
    the reason. Raises `InputError` where none can be ranked, `DataError` for pictures that cannot be judged on.
    """
    console = console or Console()
    found: list[Ranked] = []
    out: list[LeftOut] = []
    seen: Pictures | None = None
    lost = 0
    for candidate in _candidates(networks, budget, console):
        try:
            base = candidate.opened()
        except InputError as error:
            out.append(LeftOut(candidate.word, candidate.said(error)))
            lost += isinstance(error, OfflineError)
            if lost == MISSED and not networks:  # nobody asked for one of them in particular
                console.say(
                    "There seems to be no network: the others are not tried. Name those whose weights you have."
                )
                break
            continue
        console.say(f"{candidate.word}: its features and a probe …")
        seen, _ = classified(source, base.view, limit, console.reading)
        try:
            found.append(_ranked(base, seen, device, console))
        except InputError as error:
            out.append(LeftOut(candidate.word, str(error)))
    if seen is None or not found:
        raise InputError(_nothing(out))
    targets = seen.targets
    return Ranking(source.name, len(seen), int(targets.max()) + 1, floor_of(targets), _sorted(found), tuple(out))


@dataclass(frozen=True)
class _Candidate:
    """What the user called a network, its name or run folder, its weights, and why it is out of the question."""

    word: str
    name: str
    weights: str | None = None
    why: str = ""

    def opened(self) -> Pretrained:
        if self.why:
            raise InputError(self.why)
        return pretrained(self.name, self.weights)

    def said(self, error: InputError) -> str:
        return str(error).replace(f"--from {self.name} --weights FILE", f"{self.name}=FILE")


def _candidates(networks: Sequence[str], budget: Budget, console: Console) -> list[_Candidate]:
    """Those named, or all with published weights; within the budget. Raises `InputError` for what makes no sense."""
    if budget.image is not None:
        raise InputError(
            f"--image {budget.image} was given; with --from-data each network sees what its weights ask for."
        )
    named = [_read(word) for word in networks]
    if named and budget == Budget():
        return named
    fits = pick(say=console.say, **asdict(budget)).fits
    if not named:
        return [_Candidate(one.name, one.name) for one in fits if one.weights]
    return [replace(one, why=_outside(one.name, {fit.name for fit in fits})) for one in named]


def _read(word: str) -> _Candidate:
    """`NAME`, `NAME=WEIGHTS` or a run folder. Raises `UnknownNameError`, `InputError`."""
    if (Path(word) / "run.json").is_file():
        return _Candidate(word, word)
    name, equals, weights = word.partition("=")
    if ":" not in name and name not in catalogue():
        raise UnknownNameError("network or run folder", name, catalogue())
    if equals and not weights:
        raise InputError(f"{word} was given; expected a file or a name of weights behind it, such as {name}=FILE.")
    return _Candidate(word, name, weights or None)


def _outside(name: str, fits: set[str]) -> str:
    if name not in catalogue():
        return "A budget is for networks of the catalogue, and this is none of them."
    return "" if name in fits else "It is outside the budget."


def _ranked(base: Pretrained, pictures: Pictures, device: torch.device, console: Console) -> Ranked:
    judged = evidence(base, pictures, device, console.reading)
    price = cost(base.net, (base.view.channels, base.view.image, base.view.image))
    seconds = _seconds(base, pictures, device)
    top1, error, run = judged.top1, judged.error, base.run
    known = 0 if run is None or run.verb != "train" else run.knows(pictures.digests, "train", "val")
    return Ranked(base.source, base.weights, top1, error, base.view.image, price.params, price.macs, seconds, known)


def _seconds(base: Pretrained, pictures: Pictures, device: torch.device) -> float:
    """For the features of 100 pictures that are read already: the better of two, behind a first that warms up."""
    trunk, times = Trunk(base.net, base.view, device), []
    batch, _ = eval_view(pictures, np.arange(min(TIMED, len(pictures))), base.view)
    with kept_memory(device):
        for _ in range(3):
            start = time.perf_counter()
            trunk(batch).cpu()
            times.append(time.perf_counter() - start)
    return min(times[1:]) * 100 / len(batch)


def _sorted(found: Sequence[Ranked]) -> tuple[Ranked, ...]:
    """Best first, the front marked."""
    marked = [replace(one, front=not any(_beats(other, one) for other in found)) for one in found]
    return tuple(sorted(marked, key=lambda one: (-one.top1, one.macs)))


def _beats(one: Ranked, other: Ranked) -> bool:
    """Whether it is at least as cheap and as good, and one of both more."""
    return one.macs <= other.macs and one.top1 >= other.top1 and (one.macs, one.top1) != (other.macs, other.top1)


def _nothing(out: Sequence[LeftOut]) -> str:
    if not out:
        return "No network within the budget has published weights: name networks with weights of yours, NAME=FILE."
    others = f" (and {len(out) - 1} others, for reasons such as this)" if len(out) > 1 else ""
    return (
        f"No network could be tried. {out[0].name}{others}: {out[0].why.rstrip('.')}. Weights are given by path: "
        "convista pick --from-data PICTURES mobilenet_v2=FILE resnet50=FILE"
    )
