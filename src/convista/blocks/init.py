"""Initial weights, by name, written into a freshly built network."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from convista.blocks.historic import SparseConv2d
from convista.blocks.residual import ResidualSum, SubsampleAndPad
from convista.errors import InputError
from convista.registry import Registry

__all__ = [
    "INITIALISERS",
    "dirac",
    "he",
    "lecun",
    "orthonormal",
    "scale_weights",
    "weighted",
    "xavier",
    "zero_last",
    "zeros",
]

Weighted = _ConvNd | nn.Linear | SparseConv2d


def weighted(net: nn.Module) -> Iterator[Weighted]:
    """The convolutions and linear layers of `net`: what an initialisation is about."""
    return (module for module in net.modules() if isinstance(module, Weighted))


def _fans(module: Weighted) -> tuple[float, float]:
    """How many inputs reach a unit, and how many units an input reaches, edges apart."""
    weight = module.weight
    if isinstance(module, SparseConv2d):
        return weight.numel() / module.out_channels, weight.numel() / module.in_channels
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    many, few = weight[0].numel(), weight[0, 0].numel() * weight.shape[0] // module.groups
    return (few, many) if isinstance(module, _ConvTransposeNd) else (many, few)


def _without_bias(module: Weighted) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def he(net: nn.Module) -> None:
    """Convolutions normal with variance `2 / fan_out` (He et al. 2015b, equation 14), linear layers `1 / fan_in`.

    Biases are zero; norms stay.
    """
    for module in weighted(net):
        fan_in, fan_out = _fans(module)
        nn.init.normal_(module.weight, std=math.sqrt(1 / fan_in if isinstance(module, nn.Linear) else 2 / fan_out))
        _without_bias(module)


def xavier(net: nn.Module) -> None:
    """Uniform in `±sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio 2010, equation 16). Biases are zero; norms stay."""
    for module in weighted(net):
        bound = math.sqrt(6 / sum(_fans(module)))
        nn.init.uniform_(module.weight, -bound, bound)
        _without_bias(module)


def lecun(net: nn.Module) -> None:
    """Uniform in `±2.4 / fan_in` (LeCun et al. 1998, appendix A), which suits the scaled tanh."""
    for name, parameter in net.named_parameters():
        if name.endswith("weight") and parameter.ndim > 1:
            bound = 2.4 / parameter[0].numel()
            nn.init.uniform_(parameter, -bound, bound)


def zeros(net: nn.Module) -> None:
    """All weights and biases of convolutions and linear layers zero, to show why not; norms stay."""
    for module in weighted(net):
        nn.init.zeros_(module.weight)
        _without_bias(module)


def dirac(net: nn.Module) -> None:
    """Kernels larger than 1x1 pass their input on, channel by channel; further output channels and other layers as He.

    Networks without shortcuts then start as the identity (Zagoruyko and Komodakis 2017; Jordan 2024).
    """
    he(net)
    for module in weighted(net):
        if isinstance(module, nn.Conv2d) and module.weight[0, 0].numel() > 1:
            own = module.weight.shape[1]
            for group in module.weight.data.chunk(module.groups):
                nn.init.dirac_(group[:own])


def orthonormal(net: nn.Module) -> None:
    """Orthonormal kernels, each group's among themselves (Saxe et al. 2013). Biases are zero; norms stay.

    Where a layer widens, the columns of its matrix are orthonormal instead of the rows.
    """
    for module in weighted(net):
        groups = 1 if isinstance(module, nn.Linear | SparseConv2d) else module.groups
        parts = [_orthonormal(part) for part in module.weight.detach().chunk(groups)]
        with torch.no_grad():
            module.weight.copy_(torch.cat(parts))
        _without_bias(module)


def _orthonormal(like: Tensor) -> Tensor:
    """Drawn on the CPU, so that every device gets the same."""
    flat = torch.empty(len(like), like[0].numel(), device="cpu")
    return nn.init.orthogonal_(flat).view(like.shape).to(like.device)


def zero_last(net: nn.Module) -> None:
    """Every residual branch starts at zero, so that each block starts as its shortcut (Goyal et al. 2017, section 5.1).

    The scale of the normalisation that ends the branch is zero; where a convolution ends it, as in pre-activation
    blocks, the convolution is. Blocks whose shortcut pads with zeros keep their branch: where both are zero, the
    rectifier behind them passes no gradient, and the new channels would stay dead. Blocks of other libraries are asked
    for their own `zero_init_last`. Raises `InputError` for a network without residual joins.
    """
    found = 0
    for block in net.modules():
        if isinstance(block, ResidualSum):
            if not isinstance(block.shortcut, SubsampleAndPad):
                _zero(_last(block))
            found += 1
        elif callable(ask := getattr(block, "zero_init_last", None)):
            ask()
            found += 1
    if not found:
        name = getattr(getattr(net, "spec", None), "name", type(net).__name__)
        raise InputError(
            f"zero_last is for residual networks: {name} has no sum of a branch and a shortcut that is known here. "
            "Leave --zero-last out."
        )


def _last(block: ResidualSum) -> nn.Module:
    """The last layer with weights of the block's branch."""
    inside = [layer for name in block.path for layer in block.get_submodule(name).modules()]
    return [layer for layer in inside if next(layer.parameters(recurse=False), None) is not None][-1]


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters(recurse=False):
        nn.init.zeros_(parameter)


def scale_weights(net: nn.Module, factor: float) -> None:
    """Multiplies the weights of convolutions and linear layers in place; biases and norms stay."""
    for module in weighted(net):
        if factor != 1:
            module.weight.data.mul_(factor)


INITIALISERS = Registry(
    "initialisation", dirac=dirac, he=he, lecun=lecun, orthonormal=orthonormal, xavier=xavier, zeros=zeros
)
