"""What bringing a network nearer to the user's pictures changes: measured, each adaptation against none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from convista.data import Pictures, Source
from convista.errors import InputError
from convista.feature_recipes import ADAPT_NAMES
from convista.transfer.adapt import adapted
from convista.transfer.evidence import FOLDS, Evidence, classified, evidence, floor_of
from convista.transfer.extract import Progress
from convista.transfer.pretrained import Pretrained
from convista.transfer.shift import Shift, measured_norms, shift
from convista.transfer.table import usable

__all__ = ["Effect", "Shifted", "shifted"]

SURE = 2.0  # standard errors that a gain must have to be taken for one
BAR = 20  # letters of a distance of 1


@dataclass(frozen=True)
class Effect:
    """The probe's accuracy with an adaptation, 0..1, and its `gain` over none, each with its standard error."""

    how: str
    top1: float
    error: float
    gain: float
    gain_error: float


@dataclass(frozen=True)
class Shifted:
    """How far `data` lies from the pretraining of `model`, and what adapting to it changes on `pictures` pictures.

    `floor` is the accuracy of always saying the most frequent class. Without classes there is no effect, and `why` says
    so.
    """

    model: str
    data: str
    shift: Shift
    effects: tuple[Effect, ...]
    pictures: int
    floor: float | None
    why: str = ""

    @property
    def best(self) -> str:
        """The adaptation to take: the one with the largest gain that is none of chance."""
        sure = [effect for effect in self.effects if effect.gain > SURE * effect.gain_error]
        return max(sure, key=lambda effect: effect.gain).how if sure else "none"

    @property
    def advice(self) -> str:
        """What to do, in words."""
        if not self.effects:
            return f"What an adaptation changes was not measured: {self.why}"
        found = next(effect for effect in self.effects if effect.how == self.best)
        if found.how != "none":
            return f"take --adapt {found.how}: {_points(found)} points of {self.pictures:,} pictures"
        tried = ", ".join(f"{effect.how} {_points(effect)}" for effect in self.effects[1:])
        return f"leave it as it is: no gain is above twice its standard error ({tried} points)"

    def to_json(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self) | {"word": self.shift.word, "best": self.best, "advice": self.advice}

    def __str__(self) -> str:
        lines = [f"{self.model} on {self.data}", "", *_channels(self.shift), ""]
        width = max((len(name) for name, _ in self.shift.stages), default=0)
        lines += [f"{name:<{width}}  {far:.2f}  {'█' * round(BAR * far)}".rstrip() for name, far in self.shift.stages]
        lines += [str(self.shift), ""]
        if self.effects:
            lines += [f"{'adapt':<6}  {'accuracy':<15}  against none, in points"]
            lines += [f"{e.how:<6}  {e.top1:.3f} ± {e.error:.3f}    {_points(e)}".rstrip() for e in self.effects]
            judged = f"{self.pictures:,} pictures, floor {self.floor:.3f}; ±: standard error"
            lines += [f"softmax probe of the features, {FOLDS} folds, {judged}"]
        return "\n".join([*lines, self.advice])


def shifted(
    base: Pretrained, source: Source, device: torch.device, limit: int = 2000, progress: Progress | None = None
) -> Shifted:
    """The distance of a source's pictures and the effect of each adaptation, on at most `limit` of them.

    Adaptations see all of these pictures and none of their classes; the probe is judged on those that it has not seen.
    Raises `DataError` where there is no usable picture.
    """
    base.net.to(device)
    try:
        pictures, _ = classified(source, base.view, limit, progress)
        ways = [how for how in ADAPT_NAMES if how != "norms" or measured_norms(base.net)]
        effects = _effects(ways, [_judged(base, pictures, how, device, progress) for how in ways])
    except InputError as error:  # too little to judge by; the distance needs no classes
        pictures, _ = usable(source, base.view, progress)
        return Shifted(base.model, source.name, shift(base, pictures), (), 0, None, str(error))
    floor = floor_of(pictures.targets)
    return Shifted(base.model, source.name, shift(base, pictures), effects, len(pictures), floor)


def _judged(
    base: Pretrained, pictures: Pictures, how: str, device: torch.device, progress: Progress | None
) -> Evidence:
    return evidence(adapted(base, pictures, how, device), pictures, device, progress)


def _effects(ways: Sequence[str], seen: Sequence[Evidence]) -> tuple[Effect, ...]:
    return tuple(Effect(how, one.top1, one.error, *one.gain(seen[0])) for how, one in zip(ways, seen, strict=True))


def _points(effect: Effect) -> str:
    return "" if effect.how == "none" else f"{100 * effect.gain:+.1f} ± {100 * effect.gain_error:.1f}"


def _channels(found: Shift) -> list[str]:
    names = {1: ("grey",), 3: ("red", "green", "blue")}.get(len(found.channels), map(str, range(len(found.channels))))
    lines = [f"{'channel':<7}  {'pretraining':<13}  here"]
    for name, c in zip(names, found.channels, strict=True):
        lines += [f"{name:<7}  {c.pretrained_mean:.3f} ± {c.pretrained_std:.3f}  {c.mean:.3f} ± {c.std:.3f}"]
    return lines
