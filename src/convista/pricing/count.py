"""Parameters and multiply-accumulates, exactly."""

from __future__ import annotations

from math import prod

from torch import nn

from convista.blocks import LayerShape, Spec
from convista.models import spec as spec_of
from convista.records import Cost, CostRow

__all__ = ["price"]


def price(spec: Spec | str) -> Cost:
    """The price of a network, or of the one of that name, for one picture; found on the meta device.

    >>> from convista.models import spec
    >>> cost = price(spec("resnet18"))
    >>> cost.params, cost.macs
    (11689512, 1814073344)
    """
    if isinstance(spec, str):
        spec = spec_of(spec)
    net = spec.layers[-1].module
    shapes = {layer.name: layer.shape_out for layer in spec.layers}
    rows = tuple(
        CostRow(
            name=name,
            layers=text,
            shape=shapes.get(name, ()),
            params=sum(p.numel() for p in net.get_submodule(name).parameters()),
            macs=sum(_macs(layer) for layer in spec.layers if layer.name.split(".")[0] == name),
        )
        for name, text in spec.rows
    )
    params = sum(p.numel() for p in net.parameters())
    return Cost(spec.name, spec.image, params, sum(_macs(layer) for layer in spec.layers), rows)


def _macs(layer: LayerShape) -> int:
    """Weights used at each output position, times positions."""
    module, shape = layer.module, layer.shape_out
    if isinstance(module, nn.Linear):
        return module.weight.numel() * prod(shape[:-1])
    weights = module.weight.numel() if isinstance(module, nn.Conv2d) else getattr(module, "macs_per_position", 0)
    return int(weights) * prod(shape[1:])
