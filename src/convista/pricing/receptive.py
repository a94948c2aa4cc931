"""An observer that carries receptive fields through a network, by the rules of `fields`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convista.pricing.fields import LOST, RULES, WHOLE, Field, everywhere, lost
from convista.pricing.operations import name_of
from convista.pricing.trace import Layer, Step, tensors_in

__all__ = ["Fields"]


class Fields:
    """An observer that carries each tensor's `Field` along.

    `of` holds that of each layer, `last` the layer and field of the last map; `lost` says that positions were lost
    behind it.
    """

    def __init__(self, image: Tensor):
        self.of: dict[str, Field] = {}
        self.last: tuple[str, Field] | None = None
        self.lost = False
        self.mixed: set[int] = set()  # storages that were written through a part of them
        axes = tuple(range(2, image.ndim))
        zeros = (0,) * len(axes)
        _mark(image, Field(axes, zeros, zeros, (1,) * len(axes)) if axes else WHOLE)

    def step(self, step: Step) -> None:
        """Works out the field of what an operation gives from those of what it took."""
        seen = [(tensor, field) for tensor in tensors_in(step.args) if (field := self._field(tensor)) is not None]
        out = next(tensors_in(step.out), None)
        if not seen or out is None:
            return
        rule = RULES.get(name_of(step.operation)) or (
            everywhere if torch.Tag.pointwise in step.operation.tags else lost
        )
        made = rule(step.args, out, seen)
        if step.operation._schema.is_mutable and self._field(out) not in (None, made):
            self._written(out)
        for tensor in tensors_in(step.out):
            _mark(tensor, made)
        self.of[step.layer.name] = made
        self.lost = not made.known or (self.lost and not made.axes)
        if made.axes:
            self.last = (step.layer.name, made)

    def left(self, layer: Layer, out: Any) -> None:
        """A layer's field is that of what it returns."""
        field = next((found for tensor in tensors_in(out) if (found := self._field(tensor)) is not None), None)
        if field is not None:
            self.of[layer.name] = field

    def _field(self, tensor: Tensor) -> Field | None:
        if self.mixed and tensor.untyped_storage()._cdata in self.mixed:
            return LOST
        return getattr(tensor, "_seen_field", None)

    def _written(self, out: Tensor) -> None:
        """What was written into a part of a tensor is in the tensor, which has its own field."""
        if out.numel() * out.element_size() < out.untyped_storage().nbytes():
            self.mixed.add(out.untyped_storage()._cdata)


def _mark(tensor: Tensor, field: Field) -> None:
    tensor._seen_field = field  # type: ignore[attr-defined]
