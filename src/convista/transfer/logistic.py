"""The linear probe by multinomial logistic regression, whose logits are those of probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convista.data import permutation
from convista.errors import InputError
from convista.transfer.lbfgs import lbfgs
from convista.transfer.probe import Probe, accuracy, losses, ridge
from convista.transfer.spectrum import Axes, Classes, Features, Numbers, check, parts, principal

__all__ = ["Regressions", "Validated", "cross_validate", "probe_of", "softmax_probe", "stratified"]

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(2, -13, -1))  # the strongest first: easy, and near the next
SAMPLE, LEAST = 200, 1e-6  # pictures that the curvature is estimated from, and how small it is at least
LOGITS = 1 << 22  # computed at a time
ROUGH, FINE = 1e-2, 1e-5  # the steepest slope at which descent ends, while choosing and at last


def softmax_probe(
    features: Features,
    targets: Classes,
    classes: int,
    folds: int = 5,
    seed: int = 0,
    regularisation: float | None = None,
    groups: Classes | None = None,
) -> Probe:
    """Multinomial logistic regression on standardised features (n, D) and targets (n,), by L-BFGS.

    The regularisation, where none is given, is the one with the least loss over `folds` (see `cross_validate`), each of
    which has its share of every class; `seed` says who is in which. Rows of one of the `groups` (n,), such as copies or
    views of a picture, would vouch for each other, so they are left out together. Raises `InputError`, among others for
    a class of one picture, which cannot be left out; `ridge` takes it.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(60) % 3
    >>> probe = softmax_probe(rng.standard_normal((60, 8)) + 4 * np.eye(3, 8)[targets], targets, 3)
    >>> probe.weights.shape, probe.cross_validated > 0.9
    ((3, 8), True)
    """
    check(features, targets, classes)
    if regularisation is not None and not 0 < regularisation < math.inf:
        raise InputError(f"The regularisation is a number above 0, such as 0.1; here {regularisation}.")
    strengths = STRENGTHS if regularisation is None else (regularisation,)
    found = cross_validate(features, targets, classes, stratified(targets, folds, seed, groups), strengths)
    exact = found.regressions.along.astype(np.float64)  # slopes this flat drown in the rounding of float32
    whole = replace(found.regressions, along=exact, learns=np.ones((len(targets), 1), bool))
    fitted = whole.fitted(found.coefficients.mean(1, keepdims=True), found.regularisation, FINE)[:, 0]
    weights, bias = found.axes.folded(fitted[1:], fitted[0])
    return Probe(weights, bias, found.regularisation, accuracy(found.left_out, targets))


def probe_of(features: Features, targets: Classes, classes: int, seed: int = 0, groups: Classes | None = None) -> Probe:
    """The softmax probe, or, where no fold can leave a class's only picture out, the ridge, not cross-validated."""
    first = np.arange(len(targets)) if groups is None else np.unique(groups, return_index=True)[1]
    if np.bincount(targets[first], minlength=classes).min() < 2:
        return replace(ridge(features[first], targets[first], classes), cross_validated=math.nan)
    return softmax_probe(features, targets, classes, seed=seed, groups=groups)


@dataclass(frozen=True, eq=False)
class Regressions:
    """F regressions on the same n pictures at once, each learning from those that `learns` (n, F) gives it.

    `along` (n, r) are the pictures along the axes of their features, `strengths` (r,) the sums of their squares.
    Coefficients are (1 + r, F, C), the biases first.
    """

    along: NDArray[Any]
    strengths: Numbers
    targets: Classes
    classes: int
    learns: NDArray[np.bool_]

    def loss(self, coefficients: Numbers, regularisation: float) -> tuple[float, Numbers]:
        """The sum of F losses, each a mean in nats and half the squared coefficients, and its gradient (1 + r, F, C).

        Matrix products are in the precision of `along`, sums in float64.
        """
        slopes = regularisation * coefficients
        slopes[0] = 0  # biases are free
        total = float((slopes * coefficients).sum()) / 2
        along, own = torch.from_numpy(self.along), torch.from_numpy(self.targets)[:, None, None]
        shares = torch.from_numpy(self.learns / self.learns.sum(0)).to(along.dtype)[:, :, None]
        for rows in parts(len(along), 1 + LOGITS // coefficients[0].size):
            logs = self.logits(coefficients, rows).log_softmax(2)  # of every class's probability
            right, share = own[rows].expand(-1, logs.shape[1], 1), shares[rows]
            total -= float((share * logs.gather(2, right)).sum(dtype=torch.float64))
            bends = logs.exp_().mul_(share).scatter_add_(2, right, -share)
            slopes[0] += bends.sum(0, dtype=torch.float64).numpy()
            slopes[1:] += (along[rows].T @ bends.flatten(1)).view(slopes[1:].shape).numpy()
        return total, slopes

    def logits(self, coefficients: Numbers, rows: slice = slice(None)) -> Tensor:
        """(rows, F, C)."""
        along = torch.from_numpy(self.along[rows])
        flat = torch.from_numpy(coefficients).flatten(1).to(along.dtype)
        return torch.addmm(flat[0], along, flat[1:]).view(-1, *coefficients.shape[1:])

    def left_out(self, coefficients: Numbers) -> NDArray[Any]:
        """(n, C): each picture's logits by the one regression that did not learn from it."""
        found = [self.logits(coefficients, rows).numpy()[~self.learns[rows]] for rows in parts(len(self.along))]
        return np.concatenate(found)

    def curvature(self, coefficients: Numbers) -> float:
        """Of a picture's loss along one of its logits: a probability times its rest, on average over some pictures."""
        shares = self.logits(coefficients, slice(None, None, 1 + len(self.along) // SAMPLE)).double().softmax(2)
        return max(float((shares * (1 - shares)).mean()), LEAST)

    def fitted(self, start: Numbers, regularisation: float, slope: float) -> Numbers:
        """The coefficients of least loss, by `lbfgs` from `start`.

        It goes along the axes in steps that make the curvature about 1 in each, so tens of steps do for features of any
        spectrum.
        """
        bend = self.curvature(start)
        steep = np.concatenate([[1], self.strengths / len(self.along) + regularisation / bend])
        step = 1 / np.sqrt(steep)[:, None, None]

        def scaled(place: Tensor) -> tuple[float, Tensor]:
            value, slopes = self.loss(place.numpy().reshape(start.shape) * step, regularisation)
            return value / bend, torch.from_numpy((slopes * step).ravel() / bend)

        found = lbfgs(scaled, torch.from_numpy((start / step).ravel()), slope)
        return np.asarray(found.numpy().reshape(start.shape) * step, np.float64)


@dataclass(frozen=True, eq=False)
class Validated:
    """What cross-validation found: the regularisation, and of pictures `left_out` the logits (n, C) and `losses` (n,).

    `regressions` and `coefficients` are those of the folds.
    """

    axes: Axes
    regressions: Regressions
    coefficients: Numbers
    regularisation: float
    left_out: NDArray[Any]
    losses: Numbers


def cross_validate(
    features: Features, targets: Classes, classes: int, fold: Classes, strengths: Iterable[float] = STRENGTHS
) -> Validated:
    """The strength with the least loss on pictures left out, of those in turn from strong to weak; `fold` is (n,).

    Each starts where the line through the last two's coefficients leads. The way ends early where that can hardly miss
    the best: one is worse by more than chance, and the best was better than guessing by more than chance. (Where what
    tells classes apart is faint, the loss rises first, then falls.) Raises `InputError`.
    """
    check(features, targets, classes, each=2)
    axes = principal(features)
    along, learns = axes.along(features, np.float32), fold[:, None] != np.arange(fold.max() + 1)
    regressions = Regressions(along, axes.strengths, targets, classes, learns)
    guessing = -np.log(np.bincount(targets, minlength=classes) / len(targets))[targets]

    def tried() -> Iterator[Validated]:
        before = coefficients = np.zeros((1 + len(axes.strengths), learns.shape[1], classes))
        for strength in strengths:
            start = 2 * coefficients - before
            before, coefficients = coefficients, regressions.fitted(start, strength, ROUGH)
            left_out = regressions.left_out(coefficients)
            yield Validated(axes, regressions, coefficients, strength, left_out, losses(left_out, targets))

    course = tried()
    best = next(course)
    for found in course:
        if found.losses.mean() < best.losses.mean():
            best = found
        elif _surely_more(found.losses, best.losses) and _surely_more(guessing, best.losses):
            break
    return best


def stratified(targets: Classes, folds: int, seed: int, groups: Classes | None = None) -> Classes:
    """(n,): the fold 0..folds - 1 of each picture, a pure function of its arguments. Raises `InputError` below 2 folds.

    Folds, and their shares of each class, differ by one picture at most; of fewer pictures there are fewer folds. What
    is in one of the `groups` (n,) is in one fold, and counts once, as its first picture.
    """
    if folds < 2:
        raise InputError(f"Cross-validation takes at least 2 folds, one to learn from and one to judge; here {folds}.")
    if groups is not None:
        _, first, own = np.unique(groups, return_index=True, return_inverse=True)
        return stratified(targets[first], folds, seed)[own]
    order = permutation(seed, 0, len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return fold


def _surely_more(one: Numbers, other: Numbers) -> bool:
    """Whether losses (n,) are more than others of the same pictures, by more than a standard error."""
    apart = one - other
    return bool(apart.mean() > apart.std() / np.sqrt(len(apart)))
