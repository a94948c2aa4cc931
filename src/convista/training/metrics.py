"""From logits to scores, each beside the floor that needs no network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convista.records import ClassScore, Score

__all__ = ["calibration_error", "figures", "score", "softmax"]

Numbers = NDArray[np.float64]
Classes = NDArray[np.int64]


def score(logits: Numbers, targets: Classes, labels: tuple[str, ...], prior: Numbers) -> Score:
    """Judges `logits` (n, classes) on `targets` (n,). `prior` (classes,) is how often each class was trained on.

    The floor is what one gets without looking at a picture: always the training set's order of classes, with the
    training set's shares as probabilities.
    """
    found, floor = figures(softmax(logits), targets), figures(np.tile(prior, (len(targets), 1)), targets)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, logits.argmax(1)), 1)
    return Score(
        pictures=len(targets), **found, floor=floor, classes=_per_class(confusion, labels), confusion=confusion.tolist()
    )


def softmax(logits: Numbers) -> Numbers:
    """(n, classes) logits -> probabilities."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def calibration_error(confidence: Numbers, correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3): |accuracy - confidence|, weighted by bin size."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def figures(probabilities: Numbers, targets: Classes) -> dict[str, float]:
    """Top-1, top-5, loss (nats) and calibration error of probabilities (n, classes); the first of equals counts."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    hit = ranked == targets[:, None]
    right = probabilities[np.arange(len(targets)), targets]
    return {
        "top1": float(hit[:, 0].mean()),
        "top5": float(hit[:, :5].any(1).mean()),
        "loss": float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean()),
        "ece": calibration_error(np.nan_to_num(probabilities.max(1)), hit[:, 0]),
    }


def _per_class(confusion: Classes, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    right, actual, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return tuple(
        ClassScore(
            label=label,
            pictures=int(actual[i]),
            precision=float(right[i] / said[i]) if said[i] else None,
            recall=float(right[i] / actual[i]) if actual[i] else None,
            floor=float(actual[i] / actual.sum()),
        )
        for i, label in enumerate(labels)
    )
