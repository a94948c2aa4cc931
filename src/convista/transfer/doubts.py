"""Pictures that are probably in the wrong class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convista.training import softmax
from convista.transfer.logistic import cross_validate, stratified
from convista.transfer.spectrum import Classes, Features

__all__ = ["Suspect", "suspects"]


@dataclass(frozen=True)
class Suspect:
    """A picture (its row), its class and how probable that is, 0..1, the class that is most probable, and how much."""

    picture: int
    target: int
    probability: float
    guess: int
    confidence: float


def suspects(
    features: Features,
    targets: Classes,
    classes: int,
    most: int = 100,
    folds: int = 5,
    seed: int = 0,
    groups: Classes | None = None,
) -> tuple[Suspect, ...]:
    """The `most` pictures whose own class is least probable and not the first guess, the least probable first.

    The probabilities are those of `softmax_probe` on other folds than the picture's: its self-confidence out of sample
    (Northcutt et al. 2021, section 4). A picture that stands there twice with the same label would vouch for itself;
    rows of one of the `groups` (n,) do not. Features (n, D), targets (n,). Raises `InputError` as `softmax_probe` does.

    >>> targets = np.arange(60) % 3
    >>> features = np.random.default_rng(0).standard_normal((60, 8)) + 6 * np.eye(3, 8)[targets]
    >>> targets[7] = 0
    >>> [(s.picture, s.target, s.guess) for s in suspects(features, targets, 3)]
    [(7, 0, 1)]
    """
    found = cross_validate(features, targets, classes, stratified(targets, folds, seed, groups))
    probabilities = softmax(found.left_out.astype(np.float64))
    own, guesses = probabilities[np.arange(len(targets)), targets], probabilities.argmax(1)
    doubted = [int(i) for i in np.argsort(own, kind="stable") if guesses[i] != targets[i]]
    return tuple(
        Suspect(i, int(targets[i]), float(own[i]), int(guesses[i]), float(probabilities[i, guesses[i]]))
        for i in doubted[:most]
    )
