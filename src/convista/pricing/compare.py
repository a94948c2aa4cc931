"""Two networks beside each other, stage by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convista.pricing.count import Priced, cost
from convista.records import Cost, CostStage

__all__ = ["Beside", "beside"]


@dataclass(frozen=True)
class Beside:
    """What two networks spend in one place: their (parameters, MACs, bytes saved for backward), None where absent."""

    place: str
    first: tuple[int, int, int] | None
    second: tuple[int, int, int] | None


def beside(first: Cost | Priced, second: Cost | Priced) -> list[Beside]:
    """Row beside row where the networks' rows have the same names; else by how much the maps have shrunk.

    >>> [row.place for row in beside("resnet18", "mobilenet")]
    ['stride 2', 'stride 4', 'stride 8', 'stride 16', 'stride 32', 'head']
    """
    first, second = (price if isinstance(price, Cost) else cost(price) for price in (first, second))
    names = [[stage.name for stage in price.stages] for price in (first, second)]
    if names[0] == names[1]:
        return [Beside(a.name, _spent([a]), _spent([b])) for a, b in zip(first.stages, second.stages, strict=True)]
    a, b = _by_stride(first), _by_stride(second)
    strides = sorted({*a, *b})
    return [Beside(_place(s), _spent(a.get(s)), _spent(b.get(s))) for s in strides]


HEAD = 1 << 30


def _by_stride(price: Cost) -> dict[int, list[CostStage]]:
    """The stages by the power of two that is nearest to how much their maps have shrunk; the rest is the head."""
    found: dict[int, list[CostStage]] = {}
    for stage in price.stages:
        a_map = len(stage.shape) == len(price.image) == 3 and stage.shape[-1] > 1
        stride = 1 << max(0, round(math.log2(price.image[-1] / stage.shape[-1]))) if a_map else HEAD
        found.setdefault(stride, []).append(stage)
    return found


def _place(stride: int) -> str:
    return "head" if stride == HEAD else f"stride {stride}"


def _spent(stages: list[CostStage] | None) -> tuple[int, int, int] | None:
    if not stages:
        return None
    return sum(s.params for s in stages), sum(s.macs for s in stages), sum(s.activation_bytes for s in stages)
