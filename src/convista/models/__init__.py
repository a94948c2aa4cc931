"""The networks, one file per paper; `create` builds one by name."""

from convista.models import lenet, mobilenetv2, resnet  # noqa: F401  # registering their cards
from convista.models.cards import NETWORKS, Card, Paper
from convista.models.create import create, load_weights, save_weights, spec

__all__ = ["NETWORKS", "Card", "Paper", "create", "load_weights", "save_weights", "spec"]
