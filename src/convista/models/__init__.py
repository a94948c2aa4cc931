"""The networks, one file per paper; `create` builds one by name."""

from convista.models import (  # noqa: F401  # registering their cards
    alexnet,
    densenet,
    efficientnet,
    googlenet,
    inceptionresnetv2,
    inceptionv3,
    lenet,
    mobilenet,
    mobilenetv2,
    nasnet,
    resnet,
    resnetcifar,
    resnetv2,
    resnext,
    vgg,
    xception,
    zfnet,
)
from convista.models.cards import NETWORKS, Card, Paper
from convista.models.create import Services, create, load_weights, read_spec, save_weights, spec
from convista.models.foreign import ForeignSpec
from convista.models.prepare import prepare_pictures
from convista.models.weights import WeightsReport, port

__all__ = [
    "NETWORKS",
    "Card",
    "ForeignSpec",
    "Paper",
    "Services",
    "WeightsReport",
    "create",
    "load_weights",
    "port",
    "prepare_pictures",
    "read_spec",
    "save_weights",
    "spec",
]
