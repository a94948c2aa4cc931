"""Initial weights, by name, written into a freshly built network."""

from __future__ import annotations

import math

from torch import nn

from convista.registry import Registry

__all__ = ["INITIALISERS", "he", "lecun", "scale_weights"]


def he(net: nn.Module) -> None:
    """Convolutions normal with variance `2 / fan_out` (He et al. 2015b, equation 14), linear layers `1 / fan_in`."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(1 / module.in_features))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def lecun(net: nn.Module) -> None:
    """Uniform in `±2.4 / fan_in` (LeCun et al. 1998, appendix A), which suits the scaled tanh."""
    for name, parameter in net.named_parameters():
        if name.endswith("weight") and parameter.ndim > 1:
            bound = 2.4 / parameter[0].numel()
            nn.init.uniform_(parameter, -bound, bound)


def scale_weights(net: nn.Module, factor: float) -> None:
    """Multiplies the weights of convolutions and linear layers in place; biases and norms stay."""
    for module in net.modules():
        if factor != 1 and isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.mul_(factor)


INITIALISERS = Registry("initialisation", he=he, lecun=lecun)
