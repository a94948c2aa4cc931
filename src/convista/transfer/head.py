"""A network's head, trained on the features of several views of each picture, which were computed once and kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.adamw import adamw

from convista.data import Batch, Mixing, permutation
from convista.data.chance import draws
from convista.data.mixing import pairs
from convista.errors import DivergedError, InputError
from convista.training import Objective, rate
from convista.transfer.probe import Probe, linear
from convista.transfer.spectrum import Classes, Features, check, check_finite, standards

__all__ = ["HeadEpoch", "HeadRecipe", "train_head"]

APART, ORDERED = 2 << 32, 3 << 32  # added to the epoch: other numbers than those of mixing, for chance and for views
LARGEST = 1e6  # rate; beyond, the optimizer's own numbers overflow


@dataclass(frozen=True)
class HeadRecipe:
    """How a head is trained: by AdamW, whose rate `lr` falls in half a cosine, on features of mean 0 and deviation 1.

    `mixup` is the alpha of Beta (Verma et al. 2019, mixed at the last layer), `noise` the deviation of what is added to
    the features, `dropout` the share of them that is left out. Raises `InputError`.
    """

    epochs: int = 20
    lr: float = 3e-4
    weight_decay: float = 0.05
    mixup: float = 0.2
    noise: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        whole = self.epochs >= 1 and self.batch >= 1 and self.seed >= 0
        shares = 0 <= self.dropout < 1 and 0 <= self.label_smoothing < 1
        others = (self.weight_decay, self.mixup, self.noise)
        if not (whole and shares and 0 < self.lr < LARGEST and all(0 <= value < math.inf for value in others)):
            raise InputError(
                f"No head can be trained with {self}. Epochs and batch are at least 1, lr is in 0..1,000,000, "
                "dropout and label_smoothing are below 1, and nothing is below 0."
            )


@dataclass(frozen=True)
class HeadEpoch:
    """An epoch, the first being 1 and 0 the start: losses in nats, top-1 in 0..1; None for what was not measured."""

    epoch: int
    lr: float
    train_loss: float | None = None
    val_loss: float | None = None
    val_top1: float | None = None


STANDARD = HeadRecipe()


def train_head(
    features: Features,
    targets: Classes,
    classes: int,
    recipe: HeadRecipe = STANDARD,
    start: Probe | None = None,
    validation: tuple[Features, Classes] | None = None,
    device: str | torch.device = "cpu",
) -> tuple[nn.Linear, tuple[HeadEpoch, ...]]:
    """Features (n, V, D) of V views of each picture, and targets (n,) -> a linear layer on the CPU, and its epochs.

    In an epoch each picture shows one view, a pure function of (seed, epoch, row), and all of them before one comes
    again. The layer starts as `start` (Kumar et al. 2022: the probe first, then what is to be tuned), or from zeros,
    which want a higher rate. With `validation`, features (m, D) and targets (m,), the best epoch is kept, by top-1,
    then by loss, and the start counts as one; without, the last. Raises `InputError`.

    >>> targets = np.arange(60) % 3
    >>> features = np.random.default_rng(0).standard_normal((60, 2, 8)) + 4 * np.eye(3, 8)[targets][:, None]
    >>> head, history = train_head(features, targets, 3, HeadRecipe(epochs=2, lr=0.1))
    >>> head, [row.epoch for row in history]
    (Linear(in_features=8, out_features=3, bias=True), [0, 1, 2])
    """
    _check(features, targets, classes, start, validation)
    scale = _Scale.of(features, torch.device(device))
    course = _Course(scale.layer(start, classes), scale, recipe)
    history, best, kept = [], (-1.0, 0.0), course.layer
    for epoch in range(recipe.epochs + 1):
        row = course.epoch(epoch, features, targets) if epoch else HeadEpoch(0, 0.0)
        if validation is not None:
            row = course.judged(row, *validation)
            quality = (row.val_top1 or 0.0, -(row.val_loss or 0.0))
            best, kept = (quality, deepcopy(course.layer)) if quality > best else (best, kept)
        history.append(row)
    return scale.folded(kept), tuple(history)


@dataclass(frozen=True, eq=False)
class _Scale:
    """Mean and scale (D,) of all views' features in float64, on the CPU; `device` is where the layer learns."""

    mean: Tensor
    scale: Tensor
    device: torch.device

    @classmethod
    def of(cls, features: Features, device: torch.device) -> _Scale:
        """Of features (n, V, D)."""
        mean, scale = standards(features.reshape(-1, features.shape[-1]))
        return cls(torch.from_numpy(mean), torch.from_numpy(scale), device)

    def __call__(self, features: Features) -> Tensor:
        """Features (n, D) -> the same on one scale, on the device."""
        mean, scale = (numbers.to(self.device, torch.float32) for numbers in (self.mean, self.scale))
        return (torch.tensor(features).to(mean) - mean) / scale

    def layer(self, start: Probe | None, classes: int) -> nn.Linear:
        """The layer on scaled features that says what `start` says on features as they come; zeros without one."""
        if start is None:
            return linear(torch.zeros(classes, len(self.mean)), torch.zeros(classes)).to(self.device)
        weights, bias = torch.tensor(start.weights).double(), torch.tensor(start.bias)
        alive = self.scale.where(self.scale.isfinite(), 0)  # what never changes is part of the bias
        return linear(weights * alive, bias + weights @ self.mean).to(self.device)

    def folded(self, layer: nn.Linear) -> nn.Linear:
        """The layer on features as they come that says what `layer` says on scaled ones; on the CPU."""
        weights = layer.weight.detach().cpu().double() / self.scale
        return linear(weights, layer.bias.detach().cpu() - weights @ self.mean)


class _AdamW:
    """A parameter's steps (Loshchilov and Hutter 2019), as torch's function makes them.

    Its class would load the compiler first, which takes longer than the whole head.
    """

    def __init__(self, parameter: Tensor, decay: float):
        self.parameter, self.decay = parameter, decay
        self.mean, self.square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.count = torch.zeros(())

    @torch.no_grad()
    def __call__(self, slope: Tensor, lr: float) -> None:
        """One step against the slope."""
        held: tuple[list[Tensor], ...] = ([self.parameter], [slope], [self.mean], [self.square], [], [self.count])
        usual = partial(adamw, foreach=False, amsgrad=False, maximize=False, beta1=0.9, beta2=0.999, eps=1e-8)
        usual(*held, lr=lr, weight_decay=self.decay)


class _Course:
    """A layer that learns from scaled features, epoch by epoch, each with its own chance."""

    def __init__(self, layer: nn.Linear, scale: _Scale, recipe: HeadRecipe):
        self.layer, self.scale, self.recipe = layer, scale, recipe
        self.steps = (_AdamW(layer.weight, recipe.weight_decay), _AdamW(layer.bias, 0.0))
        self.objective = Objective(recipe.label_smoothing)

    def epoch(self, epoch: int, features: Features, targets: Classes) -> HeadEpoch:
        """One pass over features (n, V, D) and targets (n,)."""
        total, steps = torch.zeros((), device=self.scale.device), -(-len(targets) // self.recipe.batch)
        for step, batch in enumerate(self._batches(epoch, features, targets)):
            lr = self.recipe.lr * rate("cosine", (epoch - 1) * steps + step, self.recipe.epochs * steps)
            loss = self.objective(self.layer(batch.pictures), batch)  # their features, to be exact
            slopes = torch.autograd.grad(loss / len(batch.targets), [of.parameter for of in self.steps])
            for of, slope in zip(self.steps, slopes, strict=True):
                of(slope, lr)
            total += loss.detach()
        if not total.isfinite() or not self.layer.weight.isfinite().all():
            raise DivergedError(f"The head's loss is no number in epoch {epoch}. Take an lr below {self.recipe.lr:g}.")
        return HeadEpoch(epoch, lr, float(total) / len(targets))

    @torch.no_grad()
    def judged(self, row: HeadEpoch, features: Features, targets: Classes) -> HeadEpoch:
        """The row with what the layer makes of features (m, D) and targets (m,)."""
        logits, wanted = self.layer(self.scale(features)), torch.tensor(targets, device=self.scale.device)
        right = int((logits.argmax(1) == wanted).sum())
        return replace(row, val_loss=float(cross_entropy(logits, wanted)), val_top1=right / len(targets))

    def _batches(self, epoch: int, features: Features, targets: Classes) -> Iterator[Batch]:
        """Each picture by one of its views, mixed with another's and disturbed, in the order of the epoch."""
        recipe, rows = self.recipe, np.arange(len(targets))
        views = _turn(recipe.seed, epoch, rows, features.shape[1])
        shown, classes = self.scale(features[rows, views]), torch.tensor(targets, device=self.scale.device)
        partners, shares = (numbers.to(shown.device) for numbers in _mixed(recipe, epoch, targets))
        chance = _chance(recipe.seed, epoch)
        order = torch.from_numpy(permutation(recipe.seed, epoch, len(rows))).to(shown.device)
        for first in range(0, len(rows), recipe.batch):
            own = order[first : first + recipe.batch]
            other, share, mixed = partners[own], shares[own], shown[own]
            if recipe.mixup:
                mixed = torch.lerp(shown[other], mixed, share[:, None])
            yield Batch(_disturbed(mixed, recipe, chance), classes[own], classes[other], share)


def _turn(seed: int, epoch: int, rows: Classes, views: int) -> Classes:
    """(n,): the view that each picture shows in an epoch; all of them in turn, in an order of its own each time."""
    turn, place = divmod(epoch - 1, views)
    orders = np.argsort(draws(seed, turn + ORDERED, rows, views), axis=1)
    return np.asarray(orders[:, place])


def _mixed(recipe: HeadRecipe, epoch: int, targets: Classes) -> tuple[Tensor, Tensor]:
    """(n,) each: every picture's partner and own share; itself where nothing is mixed."""
    rows = np.arange(len(targets))
    if not recipe.mixup:
        return torch.from_numpy(rows), torch.ones(len(rows))
    found = pairs(Mixing(recipe.mixup), targets, 1, recipe.seed, epoch, rows)
    return torch.tensor([pair.partner for pair in found]), torch.tensor([pair.share for pair in found])


def _chance(seed: int, epoch: int) -> torch.Generator:
    """Numbers for noise and dropout, the same on every device: drawn on the processor."""
    start = draws(seed, epoch + APART, np.zeros(1, np.int64), 1)[0, 0]
    return torch.Generator().manual_seed(int(start * 2**53))


def _disturbed(features: Tensor, recipe: HeadRecipe, chance: torch.Generator) -> Tensor:
    if recipe.noise:
        features = features + recipe.noise * torch.randn(features.shape, generator=chance).to(features)
    if recipe.dropout:
        kept = torch.rand(features.shape, generator=chance) >= recipe.dropout
        features = features * (kept.to(features.device) / (1 - recipe.dropout))
    return features


def _check(
    features: Features,
    targets: Classes,
    classes: int,
    start: Probe | None,
    validation: tuple[Features, Classes] | None,
) -> None:
    if features.ndim != 3 or not features.size:
        raise InputError(f"Features of views are (n, V, D), such as features[:, None]; here {features.shape}.")
    check(features[:, 0], targets, classes)
    check_finite(features)
    if start is not None and start.weights.shape != (classes, features.shape[2]):
        have, want = (" x ".join(map(str, shape)) for shape in (start.weights.shape, (classes, features.shape[2])))
        raise InputError(f"A start for this head has {want} weights, classes x features; the probe has {have}.")
    if validation is not None:
        check(*validation, classes, each=0)
        if validation[0].shape[1] != features.shape[2]:
            raise InputError(f"Validation is by features (m, {features.shape[2]}); here {validation[0].shape}.")
