"""Runs side by side: what differs in their recipes, what they score, and whether that can be compared."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from convista.data import NO_LABELS
from convista.errors import InputError, RunError
from convista.models import read_spec
from convista.pricing import cost
from convista.recipe import Recipe
from convista.records import Epoch
from convista.tasks.ledger import LEDGER, Ledger
from convista.tasks.run import Run

__all__ = ["Candidate", "Comparison", "Setting", "Spread", "compare_runs"]

UNLABELLED = ("method", "temperature", "projection", "queue", "momentum_encoder")  # words of pretraining alone
FIGURES = ("top1", "top5", "loss", "ece")


@dataclass(frozen=True)
class Spread:
    """The mean of n figures and their sample standard deviation; None for one figure alone."""

    mean: float
    spread: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one figure.

        >>> Spread.of([0.5, 0.75, 1.0])
        Spread(mean=0.75, spread=0.25, n=3)
        """
        mean, finite = math.fsum(values) / len(values), all(map(math.isfinite, values))
        return cls(mean, statistics.stdev(values) if finite and len(values) > 1 else None, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± " + ("–" if self.spread is None else f"{self.spread:.3f}")


@dataclass(frozen=True)
class Candidate:
    """A run in a comparison. `state` is done, unfinished, diverged, failed or not begun, `reason` why it diverged or
    failed.

    `words` is its recipe and what it began with, `val` and `test` hold top1, top5, loss and ece of the best weights
    (empty before the end), the floors the same figures of who does not look. `cautions` says what makes them less than
    they seem. `pictures` and `tested` are fingerprints of all pictures with their classes, and of those of the test.
    """

    name: str
    path: str
    state: str
    words: dict[str, Any]
    reason: str = ""
    data: str = ""
    machine: str = ""
    classes: tuple[str, ...] = ()
    pictures: str = ""
    tested: str = ""
    params: int | None = None
    macs: int | None = None
    epochs: int = 0
    best_epoch: int | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    val: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    val_floor: dict[str, float] = field(default_factory=dict)
    test_floor: dict[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    history: tuple[Epoch, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed only. `words` are those in which settings differ, `runs` the names of all its
    runs, `n` counts the seeds that are done, `others` says what became of the rest. The figures are over the former.
    """

    words: dict[str, Any]
    runs: tuple[str, ...]
    n: int
    others: tuple[str, ...]
    params: int | None
    macs: int | None
    seconds: Spread | None
    val: dict[str, Spread]
    test: dict[str, Spread]
    val_floor: dict[str, float]
    test_floor: dict[str, float]

    def __str__(self) -> str:
        name = ", ".join(f"{word} {value}" for word, value in self.words.items()) or ", ".join(self.runs)
        if not self.n:
            return f"{name}: {'; '.join(self.others)}"
        floor = self.test_floor["top1"]
        return f"{name}: n {self.n}, val top-1 {self.val['top1']}, test top-1 {self.test['top1']} (floor {floor:.3f})"


@dataclass(frozen=True)
class Comparison:
    """Runs in the order given, and settings, the best on the validation pictures first.

    `differing` names the words in which the runs differ, `warnings` says why scores cannot be compared, `notes` what
    one should know about them.
    """

    runs: tuple[Candidate, ...]
    settings: tuple[Setting, ...]
    differing: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.settings), *self.warnings, *self.notes])

    def to_json(self) -> dict[str, Any]:
        """Plain data; figures that are no numbers become None, for JSON has none."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


def compare_runs(paths: Iterable[Run | str | os.PathLike[str]]) -> Comparison:
    """Puts run folders beside each other, and all runs in sweeps' folders and in folders of runs.

    Raises `RunError` for what is no run folder, is damaged, or is given twice.
    """
    found = [run for path in paths for run in _expanded(path.path if isinstance(path, Run) else Path(path))]
    if not found:
        raise InputError("No run was given to compare. Expected run folders, as made by train.")
    seen: set[Path] = set()
    for run in found:
        place = Path(run.path).resolve()
        if place in seen:
            raise RunError(f"{run.path} is given twice.")
        seen.add(place)
    if len({run.pictures for run in found if run.pictures}) > 1:
        found = [replace(run, words=run.words | {"data": run.data}) if run.data else run for run in found]
    runs = _named(found)
    differing = tuple(word for word in _words(runs) if len({repr(r.words[word]) for r in runs if word in r.words}) > 1)
    warnings, notes = _remarks(runs)
    return Comparison(runs, _settings(runs, differing), differing, warnings, notes)


def _expanded(path: Path) -> list[Candidate]:
    if path.is_file():
        raise RunError(f"{path} is a file; expected a run folder, the folder of a sweep, or one of runs.")
    if not (path / LEDGER).is_file():
        inside = [] if (path / "run.json").exists() else sorted(filter(_holds_runs, path.glob("*")))
        return [run for folder in inside for run in _expanded(folder)] or [_candidate(path)]
    ledger = Ledger.load(path)
    found = []
    for run in ledger.info["runs"]:
        folder, reason = path / run["folder"], str(ledger.info["failed"].get(run["folder"], ""))
        if (folder / "run.json").is_file():
            found.append(_candidate(folder, reason))
        else:
            state = "failed" if reason else "not begun"
            found.append(
                Candidate(
                    "", str(folder), state, ledger.info["recipe"] | _beginning(ledger.info) | run["words"], reason
                )
            )
    return [_completed(run, found) for run in found]


def _holds_runs(path: Path) -> bool:
    return (path / "run.json").is_file() or (path / LEDGER).is_file()


def _completed(run: Candidate, others: Sequence[Candidate]) -> Candidate:
    """A run that was never begun takes the words that are decided on the way from one that differs in its seed."""
    given = {word: value for word, value in run.words.items() if word != "seed"}
    like = next((o for o in others if o.classes and given.items() <= o.words.items()), None)
    return run if run.classes or like is None else replace(run, words=like.words | run.words)


def _candidate(path: Path, reason: str = "") -> Candidate:
    run = Run.load(path)
    try:
        state = "diverged" if run.diverged else "failed" if reason else "done" if run.done else "unfinished"
        return replace(_read(run), reason=reason or str(run.info.get("reason", "")), state=state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # files that are there, but not as we wrote them
        raise RunError(f"The run folder {path} is damaged ({error!r}).") from None


def _read(run: Run) -> Candidate:
    if run.labels == NO_LABELS:
        raise RunError(f"{run.path} learned without labels, so there are no scores to compare: look at its report.")
    info, history = run.info, tuple(run.history)
    trained = [row for row in history if row.epoch]  # what a head begins with is no epoch
    params, macs = _price((run.path / "spec.json").read_text())
    pictures, tested = _fingerprints(run.path / "split.csv")
    val, test = (info[split] if run.done else {} for split in ("val", "test"))
    return Candidate(
        name="",
        path=str(run.path),
        state="",
        words=_recipe(info["recipe"]) | _beginning(info),
        data=str(info["name"]),
        machine=str(info["versions"]["machine"]),
        classes=run.labels,
        pictures=pictures,
        tested=tested,
        params=params,
        macs=macs,
        epochs=len(trained),
        best_epoch=info["best_epoch"] if run.done else None,
        seconds=sum(row.seconds for row in history),
        images_per_second=statistics.fmean(row.pictures_per_second for row in trained) if trained else None,
        history=history,
        val={key: float(val[key]) for key in FIGURES if val},
        test={key: float(test[key]) for key in FIGURES if test},
        val_floor=dict(val.get("floor", {})),
        test_floor=dict(test.get("floor", {})),
        cautions=tuple(info.get("cautions", ())),
    )


def _recipe(words: dict[str, Any]) -> dict[str, Any]:
    """All words, those that an older convista did not know at their defaults."""
    try:
        return Recipe.of(**words).to_json()
    except InputError:  # of another version
        return dict(words)


def _beginning(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a run began with, in the words of the front door; None where it began from scratch."""
    begun = info.get("from") or {}
    words = {"from": begun.get("source"), "weights": begun.get("weights"), "adapt": begun.get("adapt")}
    return words | {word: value for word, value in info.get("pretrain", {}).items() if word in UNLABELLED}


@cache
def _price(table: str) -> tuple[int, int]:
    price = cost(read_spec(table))
    return price.params, price.macs


def _fingerprints(table: Path) -> tuple[str, str]:
    """Of all pictures with their classes, whatever their split; and of the test's."""
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [(row["digest"], row["label"], row["split"]) for row in csv.DictReader(file)]
    lines = ({f"{d} {label}" for d, label, _ in rows}, {d for d, _, split in rows if split == "test"})
    every, test = ("\n".join(sorted(kind)).encode(errors="surrogateescape") for kind in lines)
    return hashlib.blake2b(every, digest_size=8).hexdigest(), hashlib.blake2b(test, digest_size=8).hexdigest()


def _named(runs: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Runs called after their folders; by the whole path where two have the same name."""
    names = [Path(run.path).resolve().name for run in runs]
    return tuple(
        replace(run, name=name if names.count(name) == 1 else run.path) for run, name in zip(runs, names, strict=True)
    )


def _words(runs: Iterable[Candidate]) -> list[str]:
    return list(dict.fromkeys(word for run in runs for word in run.words))


def _settings(runs: Sequence[Candidate], differing: Sequence[str]) -> tuple[Setting, ...]:
    words = [word for word in differing if word != "seed"]
    groups: dict[tuple[str, ...], list[Candidate]] = {}
    for run in sorted(runs, key=lambda run: not run.pictures):
        key = (run.pictures, *(repr(run.words.get(word, "")) for word in words))
        if not run.pictures:  # never begun: beside those with its words
            key = next((other for other in groups if other[1:] == key[1:]), key)
        groups.setdefault(key, []).append(run)
    found = [_setting({w: group[0].words[w] for w in words if w in group[0].words}, group) for group in groups.values()]
    return tuple(sorted(found, key=_worse))


def _worse(setting: Setting) -> tuple[bool, float, float]:
    val = setting.val
    return not setting.n, -val["top1"].mean if setting.n else 0.0, val["loss"].mean if setting.n else 0.0


def _setting(words: dict[str, Any], runs: Sequence[Candidate]) -> Setting:
    done = _once([run for run in runs if run.state == "done"])
    priced = next((run for run in runs if run.params is not None), None)
    splits = [[(run.val, run.val_floor) for run in done], [(run.test, run.test_floor) for run in done]]
    val, test = ({k: Spread.of([s[k] for s, _ in split]) for k in FIGURES if split} for split in splits)
    floors = [{k: statistics.fmean(f[k] for _, f in split) for k in FIGURES if split} for split in splits]
    return Setting(
        words=words,
        runs=tuple(run.name for run in runs),
        n=len(done),
        others=tuple(_fate(run) for run in runs if run not in done),
        params=priced.params if priced else None,
        macs=priced.macs if priced else None,
        seconds=Spread.of([run.seconds or 0.0 for run in done]) if done else None,
        val=val,
        test=test,
        val_floor=floors[0],
        test_floor=floors[1],
    )


def _once(runs: Sequence[Candidate]) -> list[Candidate]:
    """One run of each seed: the same seed again says nothing about the spread over seeds."""
    first: dict[Any, Candidate] = {}
    for run in runs:
        first.setdefault(run.words.get("seed"), run)
    return list(first.values())


def _fate(run: Candidate) -> str:
    if run.state == "done":
        return f"{run.name}: done, not counted: seed {run.words.get('seed')} once more"
    if run.state == "unfinished":
        most = run.words.get("epochs", "?")
        return f"{run.name}: unfinished, {run.epochs} of {most} epoch{'s' if most != 1 else ''}"
    return f"{run.name}: {run.state}" + f" ({run.reason})" * bool(run.reason)


def _remarks(runs: Sequence[Candidate]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why scores cannot be compared, and what to know when they can."""
    begun = [run for run in runs if run.classes]
    warnings, notes = [], []
    if len(groups := _by(begun, lambda run: run.classes)) > 1:
        warnings.append(f"The runs tell different classes apart ({_sides(groups)}): do not compare their scores.")
    if len(groups := _by(begun, lambda run: run.pictures)) > 1:
        warnings.append(f"The runs saw different pictures ({_sides(groups)}): do not compare their scores.")
    elif len(groups := _by(begun, lambda run: run.tested)) > 1:
        seeds = _by(begun, lambda run: (run.words.get("seed"), run.tested))
        if len(seeds) > len(_by(begun, lambda run: run.words.get("seed"))):
            warnings.append(f"The runs were judged on different test pictures ({_sides(groups)}).")
        else:
            notes.append("Each seed draws its own test pictures: the spread over seeds has that in it, too.")
    notes += [f"{run.name}: {caution}" for run in begun for caution in run.cautions]
    if len(_by(begun, lambda run: run.machine)) > 1:
        notes.append("The runs were made on different machines or numbers of threads: do not compare their seconds.")
    return tuple(warnings), tuple(notes)


def _by(runs: Sequence[Candidate], key: Any) -> dict[Any, list[str]]:
    groups: dict[Any, list[str]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run.name)
    return groups


def _sides(groups: Mapping[Any, Sequence[str]]) -> str:
    sides = [", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3) for names in groups.values()]
    return " | ".join(sides[:4]) + " | …" * (len(sides) > 4)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
