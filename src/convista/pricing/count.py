"""The price of any module, counted on its shapes: no number is computed, and the module is not touched."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convista.blocks import Block, Net, Spec
from convista.errors import InputError
from convista.models import read_spec
from convista.models import spec as spec_of
from convista.models.foreign import Borrowed, ForeignSpec, anything, is_foreign, skeleton
from convista.pricing.alive import Alive, bytes_of, saved_for_backward, state_of
from convista.pricing.fields import Field
from convista.pricing.operations import bill_of
from convista.pricing.receptive import Fields
from convista.pricing.trace import Inputs, Inside, Layer, Step, Subject, Tracer, tensors_in
from convista.records import Cost, CostRow, CostStage

__all__ = ["Image", "Priced", "cost", "count", "named", "subject_of"]

Image = int | tuple[int, ...]
Priced = str | os.PathLike[str] | Spec | ForeignSpec | Borrowed | nn.Module | Block
TOP = "(top level)"


def cost(
    model: Priced,
    image: Image | None = None,
    strict: bool = False,
    inputs: Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
) -> Cost:
    """The price of a network for one picture; found on shapes alone, whatever the network is.

    `model` is a name (`resnet50`, `timm:convnext_tiny`, `package.module:function`), a `Spec`, any `nn.Module`, or a
    block, which then needs the shape of its map. `image` is the shape of one input without its batch, (C, H, W), or the
    side of a square picture; the network's own size if not given. A module that takes several inputs, or no floats,
    gets `inputs`: an example of each, with a batch of 1, in a tuple or by name. Raises `InputError` when the network
    cannot take the picture, and with `strict` when it does something whose cost is not known.

    >>> price = cost("resnet18")
    >>> price.params, price.macs, price.receptive_field
    (11689512, 1814073344, 435)
    >>> cost(nn.Conv2d(3, 64, 7, stride=2, padding=3), image=(3, 224, 224)).macs
    118013952
    """
    subject = subject_of(model, image, inputs)
    net, name = subject.net, subject.name
    counter = _Counter(net)
    fields, peak = subject.watched(1, lambda twin, inputs: _inference(twin, inputs, counter))
    if strict and counter.unknown:
        known = ", ".join(f"{operation} in {where}" for operation, where in counter.unknown)
        raise InputError(f"{name} does what has no known cost: {known}. Without strict it is listed as uncounted.")
    rows = tuple(counter.rows(net, fields, saved_for_backward(subject)))
    where, last = fields.last if fields.last and not fields.lost else ("", None)
    return Cost(
        model=name,
        image=subject.shape,
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        flops=2 * sum(row.macs for row in rows),
        other_flops=_sum(row.other_flops for row in rows),
        activation_bytes_train=sum(row.activation_bytes for row in rows),
        peak_bytes_infer=bytes_of(state_of(net)) + peak,
        receptive_field=max(last.size) if last else None,
        stride=max(last.stride) if last else None,
        sees_all=last is not None and last.all,
        last_map=(where or TOP) if last else "",
        uncounted=tuple(dict.fromkeys(operation for operation, _ in counter.unknown)),
        stages=tuple(_stages(net, rows, counter)),
        rows=rows,
        blocks=tuple(counter.blocks(rows, fields)),
    )


def count(spec: Spec) -> tuple[int, int]:
    """Parameters and multiply-accumulates alone, of which searches need many.

    >>> count(spec_of("resnet18"))
    (11689512, 1814073344)
    """
    subject = subject_of(spec)
    counter = _Counter(subject.net)

    def run(twin: nn.Module, inputs: Inputs) -> None:
        with torch.no_grad(), Inside(twin.eval(), [counter]) as inside, Tracer(inside):
            inputs.to(twin)

    subject.watched(1, run)
    return sum(p.numel() for p in subject.net.parameters()), counter.macs.total()


def subject_of(model: Priced, image: Image | None = None, inputs: Any = None) -> Subject:
    """The network to price, without memory for its weights where it is not built yet, and the shape of its input."""
    if isinstance(model, str | os.PathLike):
        model = named(os.fspath(model))
    _check_kind(model)
    shape = _shape(model, image) if inputs is None else _shape_of_first(inputs)
    if isinstance(model, nn.Module):
        name = model.spec.name if isinstance(model, Net) else type(model).__name__
        return Subject(model, name, shape, inputs=inputs)
    if isinstance(model, ForeignSpec | Borrowed):
        net = skeleton(model)
        return Subject(net, model.name, shape, ours=all(p.is_meta for p in net.parameters()), inputs=inputs)
    with torch.device("meta"):
        net = Net(model) if isinstance(model, Spec) else model(shape[0])
    return Subject(net, model.name if isinstance(model, Spec) else model.text(), shape, ours=True, inputs=inputs)


def _check_kind(model: Any) -> None:
    if not isinstance(model, Spec | ForeignSpec | Borrowed | nn.Module | Block):
        said = model.__name__ if isinstance(model, type) else type(model).__name__
        raise InputError(f"A {said} was given; expected a name, a run folder, a Spec, a torch.nn.Module or a block.")


def named(name: str) -> Spec | ForeignSpec | Borrowed:
    """The network of this name, or of this run folder. Another library's may do anything, not only classify."""
    table = Path(name) / "spec.json"
    if table.is_file():
        return read_spec(table.read_text())
    return anything(name) if is_foreign(name) else spec_of(name)


def _shape_of_first(inputs: Any) -> tuple[int, ...]:
    first = next(tensors_in(inputs), None)
    if first is None or first.ndim < 1:
        raise InputError("inputs= holds no tensor; expected an example of each input, with a batch of 1.")
    return tuple(first.shape[1:]) or (1,)


def _shape(model: Any, image: Any) -> tuple[int, ...]:
    """The shape (C, H, W) of one input. Raises `InputError` for what is none, or where only the caller can know."""
    spec = model.spec if isinstance(model, Net) else model if isinstance(model, Spec | ForeignSpec) else None
    own = (spec.channels, spec.image, spec.image) if spec else model.image if isinstance(model, Borrowed) else None
    shape = own
    if isinstance(image, tuple | list):
        if not image or any(not isinstance(n, int) or n < 1 for n in image):
            raise InputError(f"image={image} was given; expected the shape of one input, such as (3, 224, 224).")
        shape = tuple(image)
    elif image is not None:
        if isinstance(image, bool) or not isinstance(image, int) or image < 1:
            raise InputError(f"image={image!r} was given; expected a side in pixels or a shape (C, H, W).")
        shape = (own[0] if own else 3, image, image)
    if shape is None:
        raise InputError("A module does not say what it takes: give image=(C, H, W), the shape of one input.")
    if isinstance(spec, Spec) and len(shape) == 3:
        spec.check((shape[1], shape[2]))
    return shape


def _inference(twin: nn.Module, inputs: Inputs, counter: _Counter) -> tuple[Fields, int]:
    counter.start()
    alive, fields = Alive(twin, *inputs.tensors), Fields(inputs.tensors[0])
    with torch.no_grad(), Inside(twin.eval(), [counter, alive, fields]) as inside, Tracer(inside):
        inputs.to(twin)
    return fields, alive.peak


class _Counter:
    """An observer that writes each operation on the bill of the layer in which it is."""

    def __init__(self, net: nn.Module):
        self.modules = dict(net.named_modules())
        self.start()

    def start(self) -> None:
        """Forgets what it has seen."""
        self.macs: Counter[str] = Counter()
        self.other: dict[str, Counter[str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.calls: Counter[str] = Counter()
        self.own: dict[str, tuple[int, ...]] = {}  # shapes of what layers do themselves, beside their children
        self.unknown: list[tuple[str, str]] = []

    def step(self, step: Step) -> None:
        bill, name = bill_of(step.operation, step.args, step.out), step.layer.name
        if bill.macs:
            self.macs[name] += _declared(step, bill.macs)
        if bill.flops:
            self.other.setdefault(name, Counter())[bill.kind] += bill.flops
        if not bill.known:
            self.unknown.append((str(step.operation), name or TOP))
        if bill.macs or bill.flops:
            self.own[name] = tuple(next(tensors_in(step.out)).shape[1:])

    def left(self, layer: Layer, out: Any) -> None:
        self.calls[layer.name] += 1
        tensor = next(tensors_in(out), None)
        self.shapes[layer.name] = () if tensor is None else tuple(tensor.shape[1:])

    def rows(self, net: nn.Module, fields: Fields, saved: dict[str, int]) -> list[CostRow]:
        """A row for each layer that ran or has parameters, in the order in which they were left."""
        owned = _own_parameters(net)
        leaves = [name for name in self.shapes if not any(self.modules[name].children())]
        wanted = [*leaves, *self.own, *owned, *saved]
        order = {name: i for i, name in enumerate([*self.shapes, ""])}
        names = sorted(dict.fromkeys(wanted), key=lambda name: order.get(name, len(order)))
        return [self._row(name, owned.get(name, 0), fields.of.get(name), saved.get(name, 0)) for name in names]

    def blocks(self, rows: Sequence[CostRow], fields: Fields) -> Iterator[CostRow]:
        """A row for each module that holds others: what they cost together."""
        for name in (name for name in self.modules if name and any(self.modules[name].children())):
            inner = [row for row in rows if f"{row.name}.".startswith(f"{name}.")]
            if inner:
                made = self._row(name, sum(row.params for row in inner), fields.of.get(name), 0)
                yield replace(
                    made,
                    macs=sum(row.macs for row in inner),
                    other_flops=_sum(row.other_flops for row in inner),
                    activation_bytes=sum(row.activation_bytes for row in inner),
                )

    def _row(self, name: str, params: int, field: Field | None, saved: int) -> CostRow:
        seen = field if field is not None and field.axes else None
        return CostRow(
            name=name or TOP,
            kind=type(self.modules[name]).__name__,
            shape=self.shapes.get(name, self.own.get(name, ())),
            params=params,
            macs=self.macs[name],
            other_flops=dict(self.other.get(name, {})),
            activation_bytes=saved,
            calls=self.calls[name] if name else 1,
            receptive_field=seen.size if seen else None,
            stride=seen.stride if seen else None,
            padding=seen.padding if seen else None,
            sees_all=field is not None and field.all,
        )


def _declared(step: Step, macs: int) -> int:
    """A layer may say that some of its kernels are zero for good, so that nothing is multiplied there."""
    weights = getattr(step.layer.module, "macs_per_position", None)
    return macs if weights is None else int(weights) * step.out[0, 0].numel()


def _own_parameters(net: nn.Module) -> dict[str, int]:
    """Parameters by the layer that holds them itself; a shared one counts where it comes first."""
    counts: Counter[str] = Counter()
    for name, parameter in net.named_parameters():
        counts[name.rpartition(".")[0]] += parameter.numel()
    return dict(counts)


def _stages(net: nn.Module, rows: tuple[CostRow, ...], counter: _Counter) -> list[CostStage]:
    """The network's rows, or its children; what it does itself comes under `TOP`."""
    texts = dict(net.spec.rows) if isinstance(net, Net) else {}
    members: dict[str, list[CostRow]] = {}
    for row in rows:
        members.setdefault(row.name.partition(".")[0], []).append(row)
    return [
        CostStage(
            name=name,
            layers=texts.get(name, type(counter.modules.get(name, net)).__name__),
            shape=counter.shapes.get(name, inner[-1].shape),
            params=sum(row.params for row in inner),
            macs=sum(row.macs for row in inner),
            other_flops=_sum(row.other_flops for row in inner),
            activation_bytes=sum(row.activation_bytes for row in inner),
        )
        for name, inner in members.items()
    ]


def _sum(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
