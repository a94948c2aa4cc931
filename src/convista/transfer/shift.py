"""How far pictures lie from those that a network was pretrained on, by what flows into its normalisation layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convista.data import Normalise, Pictures, channel_statistics, eval_view
from convista.devices import kept_memory
from convista.errors import DataError
from convista.records import View
from convista.transfer.pretrained import Pretrained

__all__ = ["APART", "FAR", "Channel", "Shift", "measured_norms", "pretraining", "shift"]

APART, FAR = 0.15, 0.28  # distances from which pictures are called apart and far: docs/results/shift.md
BATCH = 32  # pictures in a pass
USUAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVENTIONS = {USUAL, ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}  # nobody's statistics
TINY = 0.05  # a smaller deviation of a channel says in which units pixels come, no more
IMAGENET = (USUAL[0], (0.26, 0.25, 0.26))  # over all pixels of 100 photographs; USUAL has those within a picture


@dataclass(frozen=True)
class Channel:
    """Mean and standard deviation of a channel, in units of 0..1, over all pixels: here, and in pretraining."""

    mean: float
    std: float
    pretrained_mean: float
    pretrained_std: float


@dataclass(frozen=True)
class Shift:
    """What tells pictures from those of pretraining; `pictures` of them were looked at.

    `stages` are names and distances, in the network's order, and `distance` is that of all layers: 0 for pictures of
    which every normalisation layer is given what it was given in pretraining, 1 for those that have nothing in common
    with them. None where the network keeps no such statistics.
    """

    pictures: int
    channels: tuple[Channel, ...]
    stages: tuple[tuple[str, float], ...]
    distance: float | None

    @property
    def word(self) -> str:
        """`near`, `apart` or `far`; `unknown` where there is no distance."""
        if self.distance is None:
            return "unknown"
        return "near" if self.distance < APART else "apart" if self.distance < FAR else "far"

    def __str__(self) -> str:
        if self.distance is None:
            return "distance unknown: the network keeps no statistics of its pretraining"
        bounds = f"near below {APART:g}, far from {FAR:g} on"
        return f"distance {self.distance:.2f} of 0..1: {self.word} ({bounds}), by {self.pictures:,} pictures"


def shift(base: Pretrained, pictures: Pictures, most: int = 256) -> Shift:
    """The distance of pictures from pretraining, by at most `most` of them, evenly picked, in one pass.

    The distance of a channel is Hellinger's between two normal distributions, of what flows into a normalisation layer
    now and of what did in pretraining, whose mean and variance the layer keeps. It lies in 0..1, so no channel that
    hardly ever changed can outweigh the others, as it would where differences are divided by its deviation; of layers,
    stages and the network it is the root of the mean square. A run of few steps has statistics that lag behind its
    weights, which counts as distance, too. The network is not changed. Raises `DataError` for no picture.
    """
    if not len(pictures):
        raise DataError("There is no picture whose distance from pretraining could be told.")
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(np.int64))
    squares = {name: float(values.mean()) for name, values in _distances(base, pictures, chosen).items()}
    stages: dict[str, list[float]] = {}
    for name, square in squares.items():
        stages.setdefault(name.partition(".")[0], []).append(square)
    (mean, std), (mean0, std0) = channel_statistics(pictures, most), pretraining(base.view)
    return Shift(
        len(chosen),
        tuple(Channel(*four) for four in zip(mean, std, mean0, std0, strict=True)),
        tuple((name, float(np.sqrt(np.mean(own)))) for name, own in stages.items()),
        float(np.sqrt(np.mean(list(squares.values())))) if squares else None,
    )


def pretraining(view: View) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (C,) of the pictures of pretraining, in units of 0..1.

    Those of the view, which a run has measured; ImageNet's, where the view's are but a convention.
    """
    scaled = view.channels == 3 and (max(view.std) < TINY or (view.mean, view.std) in CONVENTIONS)
    return IMAGENET if scaled else (view.mean, view.std)


def measured_norms(net: nn.Module) -> dict[str, _BatchNorm]:
    """The layers that keep statistics of pretraining, by name.

    Not among them are those whose variances are all the same: fresh ones, and those whose statistics were folded into
    the convolutions before them.
    """
    kept = {name: module for name, module in net.named_modules() if isinstance(module, _BatchNorm)}
    return {
        name: norm
        for name, norm in kept.items()
        if norm.running_var is not None and bool(norm.running_var.max() - norm.running_var.min() > 1e-6)
    }


class _Moments:
    """Mean and mean square (C,) of all values that a layer is given."""

    def __init__(self, norm: _BatchNorm):
        self.norm, self.count = norm, 0
        self.sums = torch.zeros(2, norm.num_features, dtype=torch.float64)

    def __call__(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].float()
        count = values.numel() // values.shape[1]
        var, mean = torch.var_mean(values, [d for d in range(values.ndim) if d != 1], correction=0)
        var, mean = var.double().cpu(), mean.double().cpu()
        self.sums += count * torch.stack([mean, var + mean**2])
        self.count += count

    def distances(self) -> Tensor:
        """(C,): the squares of Hellinger's distance from what the layer was given in pretraining, 0..1."""
        mean, square = self.sums / self.count
        mean0, var0 = (getattr(self.norm, name).double().cpu() for name in ("running_mean", "running_var"))
        var, var0 = (square - mean**2).clamp(min=0) + self.norm.eps, var0 + self.norm.eps
        overlap = (2 * (var * var0).sqrt() / (var + var0)).sqrt() * torch.exp(
            -((mean - mean0) ** 2) / (4 * (var + var0))
        )
        squares: Tensor = 1 - overlap
        return squares


def _distances(base: Pretrained, pictures: Pictures, chosen: np.ndarray) -> dict[str, Tensor]:
    """By the name of a layer the squared distances (C,) of its channels."""
    moments = {name: _Moments(norm) for name, norm in measured_norms(base.net).items()}
    if not moments:
        return {}
    device = next(base.net.parameters()).device
    normalise = Normalise.of(base.view, device)
    with _watched(base.net, moments), torch.inference_mode(), kept_memory(device):
        for part in np.array_split(chosen, -(-len(chosen) // BATCH)):
            base.net(normalise(eval_view(pictures, part, base.view)[0].to(device)))
    return {name: each.distances() for name, each in moments.items() if each.count}


@contextmanager
def _watched(net: nn.Module, moments: dict[str, _Moments]) -> Iterator[None]:
    """Within it the network is in eval mode and the moments see what their layers are given."""
    modes = [(module, module.training) for module in net.modules()]
    hooks = [each.norm.register_forward_pre_hook(each) for each in moments.values()]
    net.eval()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
