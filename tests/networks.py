"""Networks for the tests: quickly filled, and public twins of ours with statistics that matter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import timm
import torch
import torchvision
from torch import Tensor, nn

from convista.blocks import DropPath, Net, Spec

TORCHVISION = {
    **{f"vgg{depth}{norm}": f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")},
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{name: name for name in ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d")},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (121, 161, 169, 201)},
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(8)},
    "alexnet_owt": "alexnet",
    "googlenet_tv": "googlenet",
    "inception_v3": "inception_v3",
    "mobilenet_v2": "mobilenet_v2",
}
TIMM = {
    **{f"resnet{depth}_v2": f"resnetv2_{depth}" for depth in (50, 101, 152)},
    **{f"mobilenet_v2_{width}": f"mobilenetv2_{width}" for width in ("035", "050", "075", "140")},
    "densenet121": "densenet121",
    "efficientnet_b0": "efficientnet_b0",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "mobilenet": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "nasnet_large": "nasnetalarge",
    "resnet50": "resnet50",
    "resnext101_32x4d": "resnext101_32x4d",
    "vgg11": "vgg11",
    "xception": "legacy_xception",
}
SIDES = {"inception_v3": 299, "inception_resnet_v2": 139, "alexnet_owt": 100, "googlenet_tv": 96, "xception": 97}


class Made(nn.Module):
    """A module of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def quickly(spec: Spec) -> Net:
    """The network with plain numbers for weights: initialising 140 million of them takes a while."""
    with torch.device("meta"):
        net = Net(spec)
    net = net.to_empty(device="cpu")
    for name, tensor in net.state_dict().items():
        kind = name.rpartition(".")[2]
        if kind in ("bias", "running_mean", "num_batches_tracked"):
            tensor.zero_()
        elif tensor.ndim == 1:
            tensor.fill_(1.0)
        else:
            tensor.fill_(0.01)
            tensor.flatten(1)[:, ::3] = -0.015
    return net


def without_chance(net: nn.Module) -> nn.Module:
    """The network without dropout and stochastic depth."""
    for module in net.modules():
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
        if isinstance(module, DropPath):
            module.probability = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return net


def twin(library: str, name: str, classes: int = 10) -> nn.Module:
    """Another library's network, fresh, with random statistics."""
    torch.manual_seed(7)
    if library == "torchvision":
        extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = torchvision.models.get_model(name, weights=None, num_classes=classes, **extra)
    else:
        with _quiet():
            net = timm.create_model(name, num_classes=classes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return without_chance(net)


@contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
