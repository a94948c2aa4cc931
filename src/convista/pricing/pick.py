"""Which networks fit a budget: bounds on price, speed and published accuracy, and what each bound leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from convista.blocks import Spec
from convista.catalogue import Budget, Published, amount, catalogue, comparable
from convista.errors import InputError, UnknownNameError
from convista.models import NETWORKS
from convista.pricing.alive import inference_peak
from convista.pricing.count import count, subject_of
from convista.pricing.latency import measure
from convista.pricing.memory import memory

__all__ = ["Choice", "Excluded", "Picked", "pick"]


@dataclass(frozen=True)
class Picked:
    """A network that fits: its price at `image` pixels, its speed here (None if not asked for), what is published."""

    name: str
    image: int
    params: int
    macs: int
    ms: float | None
    memory: int
    top1: float | None
    top5: float | None
    dataset: str
    judged_at: int
    weights: str


@dataclass(frozen=True)
class Excluded:
    """A bound, the networks that it alone kept out after the bounds before it, and the nearest of them."""

    bound: str
    networks: tuple[str, ...]
    nearest: str


@dataclass(frozen=True)
class Choice:
    """The networks that fit, best first, and why the others do not."""

    fits: tuple[Picked, ...]
    excluded: tuple[Excluded, ...]


@dataclass(frozen=True)
class Bound:
    """One bound: its word as it was given, the figure it is on, the limit, and whether it is a least one."""

    word: str
    figure: Callable[[Candidate], float]
    limit: float
    least: bool = False

    def lets(self, candidate: Candidate) -> bool:
        """Whether the candidate is within it."""
        value = self.figure(candidate)
        return value >= self.limit if self.least else value <= self.limit


class Candidate:
    """A network at the size of pictures asked for; what is dear to find out is found out once, when it is asked."""

    def __init__(self, row: Published, budget: Budget):
        self.row, self.budget = row, budget
        self.found: dict[str, float] = {}

    @property
    def spec(self) -> Spec:
        """Its table."""
        spec = NETWORKS[self.row.name].spec()
        return spec if self.budget.image is None else spec.at(self.budget.image)

    def _once(self, key: str, find: Callable[[], float]) -> float:
        if key not in self.found:
            self.found[key] = find()
        return self.found[key]

    def smallest(self) -> float:
        """The side of the smallest picture that it takes."""
        return NETWORKS[self.row.name].spec().smallest

    def macs(self) -> float:
        """Multiply-accumulates at the size asked for."""
        own = self.budget.image in (None, self.row.image)
        return self.row.macs if own else self._once("macs", lambda: count(self.spec)[1])

    def memory(self) -> float:
        """Bytes at the worst moment of inference or of a training step."""
        return self._once("memory", self._memory)

    def _memory(self) -> float:
        if self.budget.training:
            return memory(self.spec, batch=self.budget.batch).peak_train
        return inference_peak(subject_of(self.spec), self.budget.batch)

    def ms(self) -> float:
        """Milliseconds of a forward pass, measured."""
        return self._once("ms", lambda: measure(self.spec, batch=self.budget.batch, seconds=0.5).ms)

    def picked(self) -> Picked:
        """The record of it."""
        row = self.row
        return Picked(
            row.name, self.spec.image, row.params, int(self.macs()), self.found.get("ms"), int(self.memory()),
            row.top1, row.top5, row.dataset, row.judged_at, row.weights,
        )  # fmt: skip


def pick(*, say: Callable[[str], None] = lambda _: None, **words: Any) -> Choice:
    """The networks within a budget, best published accuracy first; `words` are those of `Budget`.

    Cheap bounds come first, milliseconds last: only what fits all else is measured; `say` hears of it. A bound on top-1
    leaves out networks without a published figure, and those judged on another data set. Raises `InputError` for a bad
    bound, and where nothing fits, with what comes nearest.

    >>> [network.name for network in pick(max_params="5M", max_macs="600M", min_top1=71).fits]
    ['mobilenet_v2']
    """
    known = [f.name for f in fields(Budget)]
    if unknown := sorted(words.keys() - set(known)):
        raise UnknownNameError("bound", unknown[0], known)
    budget = Budget(**words)
    rows = [row for row in catalogue().values() if budget.family in (None, row.family)]
    dataset = comparable(rows, budget.family)
    left, excluded = [Candidate(row, budget) for row in rows], []
    for bound in _bounds(budget, dataset):
        if bound.word.startswith("max_ms"):
            say(f"measuring {len(left)} networks")
        out = [candidate for candidate in left if not bound.lets(candidate)]
        if out:
            excluded.append(_excluded(bound, out))
        left = [candidate for candidate in left if candidate not in out]
        if not left:
            said = "; ".join(f"{e.bound} excludes {len(e.networks)} of them ({e.nearest})" for e in excluded)
            raise InputError(f"None of {len(rows)} networks fits: {said}. Loosen one of the bounds.")
    fits = [candidate.picked() for candidate in left]
    return Choice(tuple(sorted(fits, key=lambda p: (p.dataset != dataset, -(p.top1 or 0), p.macs))), tuple(excluded))


def _bounds(budget: Budget, dataset: str) -> list[Bound]:
    """Those that are set, the cheapest to check first."""

    def top1(candidate: Candidate) -> float:
        return (candidate.row.top1 or 0) if candidate.row.dataset == dataset else 0

    made = [
        Bound(f"min_top1={budget.min_top1:g}", top1, budget.min_top1, least=True) if budget.min_top1 else None,
        _most("max_params", budget.max_params, lambda c: c.row.params),
        Bound(f"image={budget.image}", Candidate.smallest, budget.image) if budget.image else None,
        _most("max_macs", budget.max_macs, Candidate.macs),
        _most("max_memory", budget.max_memory, Candidate.memory),
        Bound(f"max_ms={budget.max_ms:g}", Candidate.ms, budget.max_ms) if budget.max_ms else None,
    ]
    return [bound for bound in made if bound is not None]


def _most(word: str, limit: str | None, figure: Callable[[Candidate], float]) -> Bound | None:
    return None if limit is None else Bound(f"{word}={limit}", figure, amount(word, limit))


def _excluded(bound: Bound, out: list[Candidate]) -> Excluded:
    best = (max if bound.least else min)(out, key=bound.figure)
    value = bound.figure(best)
    figure = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return Excluded(bound.word, tuple(c.row.name for c in out), f"the nearest is {best.row.name} with {figure}")
