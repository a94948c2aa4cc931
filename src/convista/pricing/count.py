"""Parameters and multiply-accumulates, exactly."""

from __future__ import annotations

from math import prod

from torch import nn

from convista.blocks import LayerShape, Spec
from convista.records import Cost, CostRow

__all__ = ["price"]


def price(spec: Spec) -> Cost:
    """The price of a network for one picture, found on the meta device.

    >>> from convista.models import spec
    >>> cost = price(spec("resnet18"))
    >>> cost.params, cost.macs
    (11689512, 1814073344)
    """
    net = spec.layers[-1].module
    shapes = {layer.name: layer.shape_out for layer in spec.layers}
    rows = tuple(
        CostRow(
            name=name,
            layers=block.text(),
            shape=shapes[name],
            params=sum(p.numel() for p in net.get_submodule(name).parameters()),
            macs=sum(_macs(layer) for layer in spec.layers if layer.name.split(".")[0] == name),
        )
        for name, block in spec.table.rows
    )
    return Cost(spec.name, spec.image, sum(row.params for row in rows), sum(row.macs for row in rows), rows)


def _macs(layer: LayerShape) -> int:
    """Weights used at each output position, times positions."""
    module, shape = layer.module, layer.shape_out
    if isinstance(module, nn.Linear):
        return module.weight.numel() * prod(shape[:-1])
    weights = module.weight.numel() if isinstance(module, nn.Conv2d) else getattr(module, "macs_per_position", 0)
    return int(weights) * prod(shape[1:])
