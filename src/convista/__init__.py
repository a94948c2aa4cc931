"""From a folder of pictures to a convolutional network that you can afford, train, look inside and ship.

>>> import convista
>>> net = convista.create("resnet18", classes=3)
>>> print(net.spec)
resnet18
row      output          layers
input    3 x 224 x 224
conv1    64 x 112 x 112  7x7, 64, stride 2
pool1    64 x 56 x 56    3x3 max pool, stride 2
conv2_x  64 x 56 x 56    [3x3, 64; 3x3, 64] x 2
conv3_x  128 x 28 x 28   [3x3, 128; 3x3, 128] x 2, stride 2
conv4_x  256 x 14 x 14   [3x3, 256; 3x3, 256] x 2, stride 2
conv5_x  512 x 7 x 7     [3x3, 512; 3x3, 512] x 2, stride 2
head     3               global average pool, 3-way linear
11,178,051 parameters
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convista.blocks import Net, Spec
    from convista.catalogue import find
    from convista.errors import ConvistaError, InputError
    from convista.models import create, spec
    from convista.pretraining import pretrain
    from convista.pricing import beside, cost, largest_batch, measure, memory, scale, what_if
    from convista.recipe import Recipe
    from convista.spread import ray_train
    from convista.tasks import Comparison, Place, Run
    from convista.training import Console
    from convista.transfer import ray_features
    from convista.transfer_verbs import features, map, neighbours, pick, shift  # noqa: A004
    from convista.verbs import augment, compare, doctor, eval, lr_find, predict, report, sweep, train  # noqa: A004

__all__ = [
    "Comparison",
    "Console",
    "ConvistaError",
    "InputError",
    "Net",
    "Place",
    "Recipe",
    "Run",
    "Spec",
    "augment",
    "beside",
    "compare",
    "cost",
    "create",
    "doctor",
    "eval",
    "features",
    "find",
    "largest_batch",
    "lr_find",
    "map",
    "measure",
    "memory",
    "neighbours",
    "pick",
    "predict",
    "pretrain",
    "ray_features",
    "ray_train",
    "report",
    "scale",
    "schedule",
    "shift",
    "spec",
    "sweep",
    "train",
    "what_if",
]
__version__ = "0.1.0"

HOMES = {
    "blocks": ["Net", "Spec"],
    "catalogue": ["find"],
    "errors": ["ConvistaError", "InputError"],
    "models": ["create", "spec"],
    "pretraining": ["pretrain"],
    "pricing": ["beside", "cost", "largest_batch", "measure", "memory", "scale", "what_if"],
    "recipe": ["Recipe"],
    "tasks": ["Comparison", "Place", "Run"],
    "spread": ["ray_train"],
    "training": ["Console"],
    "transfer_verbs": ["features", "map", "neighbours", "pick", "shift"],
    "transfer": ["ray_features"],
    "verbs": [
        "augment",
        "compare",
        "doctor",
        "eval",
        "lr_find",
        "predict",
        "report",
        "schedule",
        "sweep",
        "train",
    ],
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used, so that `import convista` costs next to nothing."""
    for home, names in HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"convista.{home}"), name)
            globals()[name] = value
            return value
        if name == home:
            return importlib.import_module(f"convista.{home}")
    raise AttributeError(f"module 'convista' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
