"""Stages of a network that is trained already: which of them learn further, when, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convista.errors import InputError, UnknownNameError

__all__ = ["Thaw", "slower", "stages_of"]

Groups = list[dict[str, Any]]


def stages_of(net: nn.Module) -> dict[str, nn.Module]:
    """The parts with weights that the network passes through, from the picture to the answer: the rows of its table.

    In a network of another library they are its children; one that holds most of its weights is taken apart.

    >>> list(stages_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))))
    ['0', '2']
    """
    every = _size(net)
    found: dict[str, nn.Module] = {}
    for name, child in net.named_children():
        inner = dict(child.named_children()) if isinstance(child, nn.Sequential | nn.ModuleList) else {}
        apart = len(inner) > 1 and 2 * _size(child) > every and not hasattr(net, "spec")
        parts = {f"{name}.{key}": part for key, part in inner.items()} if apart else {name: child}
        found |= {key: part for key, part in parts.items() if _size(part)}
    return found


@dataclass(frozen=True)
class Thaw:
    """Which stages learn in which epoch, the first being 0: those from `first` on; `over` epochs bring one after
    another, from the answer's back to `first` (Howard and Ruder 2018, gradual unfreezing), all at once where 0.

    Statistics of batch normalisation stay those of the pretraining, and what does not learn does not drop out either.
    Raises `UnknownNameError` for a stage that is not there, `InputError` where nothing lies behind it.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Linear(2, 2))
    >>> [Thaw("0", over=2).learning(net, epoch) for epoch in (0, 1, 2)]
    [['2'], ['1', '2'], ['0', '1', '2']]
    """

    first: str
    over: int = 0

    def learning(self, net: nn.Module, epoch: int) -> list[str]:
        """The names of the stages that learn in this epoch."""
        stages = self._ever(net)
        shown = len(stages) if epoch >= self.over else 1 + epoch * (len(stages) - 1) // self.over
        return stages[-shown:]

    def __call__(self, net: nn.Module, epoch: int) -> None:
        """Makes the network ready to learn in this epoch: in training mode, as far as it learns."""
        net.train().requires_grad_(False)
        learning = set(self.learning(net, epoch))
        for name, stage in stages_of(net).items():
            stage.requires_grad_(name in learning).train(name in learning)
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def _ever(self, net: nn.Module) -> list[str]:
        stages = list(stages_of(net))
        if self.first not in stages:
            raise UnknownNameError("stage", self.first, stages)
        if self.first == stages[-1]:
            raise InputError(f"Behind {self.first} lies nothing that could learn further: it is the head itself.")
        return stages[stages.index(self.first) :]


def slower(net: nn.Module, groups: Groups, factor: float) -> Groups:
    """An optimiser's groups, parted by stages: the rate of each is `factor` times that of the stage behind it."""
    stages: Sequence[nn.Module] = list(stages_of(net).values())
    place = {id(p): depth for depth, stage in enumerate(reversed(stages)) for p in stage.parameters()}
    parted = []
    for group in groups:
        for depth in range(len(stages)):
            params = [p for p in group["params"] if place.get(id(p), len(stages) - 1) == depth]
            scale = group.get("lr_scale", 1.0) * factor**depth
            parted += [{**group, "params": params, "lr_scale": scale}] if params else []
    return parted


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
