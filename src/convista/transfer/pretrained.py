"""The network that transfer begins with: one with published weights, with those of a file, or that of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convista.blocks import Spec
from convista.errors import InputError, RunError, WeightsError
from convista.models import create
from convista.models.weights import fill
from convista.records import Preprocessing, View
from convista.tasks import Run
from convista.tasks.network import network_of

__all__ = ["Pretrained", "is_run", "pretrained"]


@dataclass(frozen=True)
class Pretrained:
    """A network as it was trained, its `view` of a picture, the `model`'s name, and the words that made it.

    `norms`: the statistics of its normalisation are no longer those of its weights (see `adapted`).
    """

    net: nn.Module
    view: View
    model: str
    source: str
    weights: str | None
    norms: bool = False

    @property
    def run(self) -> Run | None:
        """The run that the network comes from; None where it comes from none."""
        return Run.load(self.source) if is_run(self.source) else None

    def for_classes(self, classes: int) -> nn.Module:
        """The same network with a new last layer."""
        if is_run(self.source):
            return self._of_run(Run.load(self.source), classes)
        net = create(self.source, classes, self.view.channels, weights=self.weights)
        if self.norms:
            _take_statistics(net, self.net)
        return net

    def _of_run(self, run: Run, classes: int) -> nn.Module:
        table: Any = network_of(run.recipe, classes, self.view.channels, self.view.image)  # a network of any library
        if isinstance(table, Spec):  # with the padding and the epsilon that its weights have
            net: nn.Module = create(table, classes, weights=run.path / "model.safetensors")
        else:
            net = table()
        fill(net, self.net.state_dict(), ordered=False, head_may_differ=True)
        return net


def pretrained(source: str, weights: str | None = None, word: str = "--from ") -> Pretrained:
    """A run folder, or a network's name with weights: a file, a name that `create` knows, else the published ones.

    `word` stands before the name on the command line. Raises `UnknownNameError`, `InputError`, and `WeightsError` where
    the weights cannot be had or do not say how they want to see a picture.
    """
    if Path(source).is_file():
        raise InputError(f"{source} is a file: name its network, too: {word}NETWORK --weights {source}")
    if weights is not None and Path(weights).is_dir():
        cure = f"a run is named by itself: {word}{weights}" if is_run(weights) else "expected a file of weights"
        raise InputError(f"--weights {weights} is a folder; {cure}.")
    if is_run(source) or os.sep in source:  # no network has such a name: the error is about run folders
        if weights is not None:
            raise InputError(f"--weights {weights} was given beside the run {source}, which has its own.")
        if not Path(source, "run.json").exists():
            raise RunError(
                f"There is no run folder at {source} (no run.json in it), and no network has such a name. "
                "Give a network's name, as `convista models` lists them, or a run folder."
            )
        run = Run.load(source)
        run.require_done()
        return Pretrained(run.net, run.view, run.recipe.model, source, None)
    if weights is None and ":" in source:
        raise InputError(f"{source} is another library's network: say which weights it is to have, --weights FILE.")
    try:
        net = create(source, weights=weights or "published")
    except WeightsError as error:
        raise (type(error)(f"{error} As in: {word}{source} --weights FILE") if weights is None else error) from None
    weights = weights or "published"
    return Pretrained(net, _view(getattr(net, "preprocessing", None), weights), source, source, weights)


def _view(how: Preprocessing | None, weights: str) -> View:
    if how is None:
        raise WeightsError(f"{weights} does not say how its pictures were scaled; only networks that do can be used.")
    return View(how.crop, max(how.crop, how.resize), len(how.mean), how.mean, how.std)


def _take_statistics(net: nn.Module, other: nn.Module) -> None:
    """Gives batch normalisation the statistics that it has in `other`, the same network but for its head."""
    theirs = dict(other.named_modules())
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm):
            module.load_state_dict(theirs[name].state_dict())


def is_run(source: str) -> bool:
    """Whether this is a run folder."""
    return (Path(source) / "run.json").is_file()
