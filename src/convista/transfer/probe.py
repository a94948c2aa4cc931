"""The linear probe: what a pretrained network's features tell of other classes, by a layer found without descent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convista.errors import InputError
from convista.transfer.spectrum import Axes, Classes, Features, Numbers, check, principal

__all__ = ["LeastSquares", "Probe", "accuracy", "linear", "losses", "nats", "ridge"]

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-8, 9))  # of the regularisation, tried one after the other
SUREST = 100.0  # times the least squares, whose winning class is about 1 above the others


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear layer on features: `weights` (C, D), `bias` (C,). It is called with features as the network gives them.

    `regularisation` is the factor of half the squared weights, of standardised features, beside the mean loss of a
    picture. `cross_validated` is the top-1 accuracy, 0..1, on pictures that were left out while it was chosen; no
    number where none could be.
    """

    weights: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.float32] = field(repr=False)
    regularisation: float
    cross_validated: float

    def __call__(self, features: Features) -> NDArray[np.float32]:
        """Features (n, D) -> logits (n, C). Raises `InputError` for features of another length."""
        if features.ndim != 2 or features.shape[1] != self.weights.shape[1]:
            raise InputError(f"The probe is for features (n, {self.weights.shape[1]}); these are {features.shape}.")
        return np.asarray(features.astype(np.float32) @ self.weights.T + self.bias)

    def linear(self) -> nn.Linear:
        """A layer with the same logits, to be the network's head."""
        return linear(torch.tensor(self.weights), torch.tensor(self.bias))

    def __str__(self) -> str:
        classes, length = self.weights.shape
        judged = "" if math.isnan(self.cross_validated) else f", cross-validated top-1 {self.cross_validated:.3f}"
        what = f"probe of {length:,} features for {classes} classes"
        return f"{what}, regularisation {self.regularisation:.2g}{judged}"


def ridge(features: Features, targets: Classes, classes: int) -> Probe:
    """Least squares on features (n, D) and targets (n,) as one-hot vectors, with a bias.

    The regularisation is the one whose squared error is least where each picture is left out in turn, which costs no
    refit (Allen 1974, PRESS). A factor for all logits then makes their softmax a probability, as far as that goes:
    it is fitted to the same left-out scores, and does not change what wins. Each row is a picture of its own: views of
    one would vouch for each other. Raises `InputError`.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(60) % 3
    >>> print(ridge(rng.standard_normal((60, 8)) + 4 * np.eye(3, 8)[targets], targets, 3))
    probe of 8 features for 3 classes, regularisation 0.032, cross-validated top-1 1.000
    """
    check(features, targets, classes)
    squares = LeastSquares.of(features, targets, classes)
    strength = min(STRENGTHS, key=squares.press)
    left_out = squares.left_out(strength)
    sure = _sureness(left_out, squares.wanted)
    coefficients, bias = squares.solved(strength)
    return Probe(*squares.axes.folded(sure * coefficients, sure * bias), strength, accuracy(left_out, targets))


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """All ridge regressions of one-hot targets `wanted` (n, C) at once: one for each regularisation.

    `along` (n, r) are the pictures along the axes of their features, `products` (r, C) with the targets.
    """

    axes: Axes
    along: Numbers
    wanted: Numbers
    products: Numbers

    @classmethod
    def of(cls, features: Features, targets: Classes, classes: int) -> LeastSquares:
        """Features (n, D) and targets (n,), which were checked. Raises `InputError` where all features are the same."""
        axes, wanted = principal(features), np.eye(classes)[targets]
        along = axes.along(features)
        return cls(axes, along, wanted, along.T @ wanted)

    def solved(self, strength: float) -> tuple[Numbers, Numbers]:
        """Coefficients (r, C) along the axes, and bias (C,), which is not regularised."""
        return self.products / self._stiffness(strength)[:, None], self.wanted.mean(0)

    def left_out(self, strength: float) -> Numbers:
        """(n, C): what each picture scores with those fitted to all others, whose scale the features keep.

        The residual grows by 1 / (1 - its leverage), exactly (Allen 1974; Hastie et al., The Elements of Statistical
        Learning, equation 7.64).
        """
        coefficients, bias = self.solved(strength)
        leverage = 1 / len(self.along) + self.along**2 @ (1 / self._stiffness(strength))
        residuals = self.wanted - self.along @ coefficients - bias
        return self.wanted - residuals / (1 - leverage)[:, None]

    def press(self, strength: float) -> float:
        """The mean squared error of the left-out scores."""
        return float(((self.left_out(strength) - self.wanted) ** 2).mean())

    def _stiffness(self, strength: float) -> Numbers:
        return self.axes.strengths + len(self.along) * strength


def linear(weights: Tensor, bias: Tensor) -> nn.Linear:
    """A layer of these numbers, (C, D) and (C,), in float32 and where they are; no other numbers are drawn for it."""
    with torch.device("meta"):
        layer = nn.Linear(*weights.shape[::-1])
    layer.weight = nn.Parameter(weights.float())
    layer.bias = nn.Parameter(bias.float())
    return layer


def accuracy(scores: Features, targets: Classes) -> float:
    """Top-1, 0..1, of scores (n, C)."""
    return float((scores.argmax(1) == targets).mean())


def losses(logits: Features, targets: Classes) -> Numbers:
    """Cross-entropy in nats (n,) of logits (n, C) with targets (n,)."""
    top = logits.max(1).astype(np.float64)
    return np.asarray(np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(len(targets)), targets])


def nats(logits: Numbers, wanted: Numbers) -> float:
    """Mean cross-entropy of logits (n, C) with the shares of the classes that are wanted (n, C)."""
    top = logits.max(1)
    return float((np.log(np.exp(logits - top[:, None]).sum(1)) + top - (logits * wanted).sum(1)).mean())


def _sureness(scores: Numbers, wanted: Numbers) -> float:
    """The factor that makes scores logits (Guo et al. 2017, section 4.2).

    It is fitted as if one more picture had shown all classes: no finite number of pictures makes sure.
    """
    from scipy.optimize import minimize_scalar  # slow to load

    count, classes = wanted.shape
    soft = (count * wanted + 1 / classes) / (count + 1)
    found = minimize_scalar(lambda log: nats(np.exp(log) * scores, soft), bounds=(0, np.log(SUREST)), method="bounded")
    return float(np.exp(found.x))
