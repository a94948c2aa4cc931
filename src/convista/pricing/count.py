"""The price of any module, counted on its shapes: no number is computed, and the module is not touched."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from convista.blocks import Block, Net, Spec
from convista.errors import InputError
from convista.models import spec as spec_of
from convista.models.foreign import ForeignSpec
from convista.pricing.alive import Alive, bytes_of, saved_for_backward, state_of
from convista.pricing.fields import Field, Fields
from convista.pricing.operations import bill_of
from convista.pricing.trace import Inside, Layer, Step, Subject, Tracer, tensors_in
from convista.records import Cost, CostRow, CostStage

__all__ = ["Image", "Priced", "cost", "count", "subject_of"]

Image = int | tuple[int, ...]
Priced = str | Spec | ForeignSpec | nn.Module | Block
TOP = "(top level)"


def cost(model: Priced, image: Image | None = None, strict: bool = False) -> Cost:
    """The price of a network for one picture; found on shapes alone, whatever the network is.

    `model` is a name (`resnet50`, `timm:convnext_tiny`, `package.module:function`), a `Spec`, any `nn.Module`, or a
    block, which then needs the shape of its map. `image` is the shape of one input without its batch, (C, H, W), or the
    side of a square picture; the network's own size if not given. Raises `InputError` when the network cannot take
    the picture, and with `strict` when it does something whose cost is not known.

    >>> price = cost("resnet18")
    >>> price.params, price.macs, price.receptive_field
    (11689512, 1814073344, 435)
    >>> cost(nn.Conv2d(3, 64, 7, stride=2, padding=3), image=(3, 224, 224)).macs
    118013952
    """
    subject = subject_of(model, image)
    net, name = subject.net, subject.name
    counter = _Counter(net)
    fields, peak = subject.watched(1, lambda twin, inputs: _inference(twin, inputs, counter))
    if strict and counter.unknown:
        known = ", ".join(f"{operation} in {where}" for operation, where in counter.unknown)
        raise InputError(f"{name} does what has no known cost: {known}. Without strict it is listed as uncounted.")
    rows = tuple(counter.rows(net, fields, saved_for_backward(subject)))
    return Cost(
        model=name,
        image=subject.shape,
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        flops=2 * sum(row.macs for row in rows),
        other_flops=_sum(row.other_flops for row in rows),
        activation_bytes_train=sum(row.activation_bytes for row in rows),
        peak_bytes_infer=bytes_of(state_of(net)) + peak,
        receptive_field=max(fields.last[1].size) if fields.last else None,
        last_map=(fields.last[0] or TOP) if fields.last else "",
        uncounted=tuple(dict.fromkeys(operation for operation, _ in counter.unknown)),
        stages=tuple(_stages(net, rows, counter)),
        rows=rows,
    )


def count(spec: Spec) -> tuple[int, int]:
    """Parameters and multiply-accumulates alone, of which searches need many.

    >>> count(spec_of("resnet18"))
    (11689512, 1814073344)
    """
    subject = subject_of(spec)
    counter = _Counter(subject.net)

    def run(twin: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        with torch.no_grad(), Inside(twin.eval(), [counter]) as inside, Tracer(inside):
            twin(*inputs)

    subject.watched(1, run)
    return sum(p.numel() for p in subject.net.parameters()), counter.macs.total()


def subject_of(model: Priced, image: Image | None = None) -> Subject:
    """The network to price, without memory for its weights where it is not built yet, and the shape of its input."""
    if isinstance(model, str):
        model = spec_of(model)
    shape = _shape(model, image)
    if isinstance(model, nn.Module):
        name = model.spec.name if isinstance(model, Net) else type(model).__name__
        return Subject(model, name, shape)
    if isinstance(model, ForeignSpec):
        net = _of_another_library(model)
        return Subject(net, model.name, shape, ours=all(p.is_meta for p in net.parameters()))
    with torch.device("meta"):
        if isinstance(model, Spec):
            return Subject(Net(model), model.name, shape, ours=True)
        if isinstance(model, Block):
            return Subject(model(shape[0]), model.text(), shape, ours=True)
    raise InputError(f"A {type(model).__name__} was given; expected a name, a Spec, a torch.nn.Module or a block.")


def _of_another_library(spec: ForeignSpec) -> nn.Module:
    try:
        with torch.device("meta"):
            return spec()
    except (NotImplementedError, RuntimeError):  # some look at their own weights while they are built
        return spec()


def _shape(model: Priced, image: Image | None) -> tuple[int, ...]:
    """The shape (C, H, W) of one input. Raises `InputError` for what is none, or where only the caller can know."""
    spec = model.spec if isinstance(model, Net) else model if isinstance(model, Spec | ForeignSpec) else None
    if isinstance(image, tuple | list):
        if not image or any(not isinstance(n, int) or n < 1 for n in image):
            raise InputError(f"image={image} was given; expected the shape of one input, such as (3, 224, 224).")
        shape = tuple(image)
    elif image is None:
        if spec is None:
            raise InputError("A module does not say what it takes: give image=(C, H, W), the shape of one input.")
        shape = (spec.channels, spec.image, spec.image)
    else:
        if isinstance(image, bool) or not isinstance(image, int) or image < 1:
            raise InputError(f"image={image!r} was given; expected a side in pixels or a shape (C, H, W).")
        shape = (spec.channels if spec else 3, image, image)
    if isinstance(spec, Spec) and len(shape) == 3:
        spec.check((shape[1], shape[2]))
    return shape


def _inference(twin: nn.Module, inputs: tuple[Tensor, ...], counter: _Counter) -> tuple[Fields, int]:
    counter.start()
    alive, fields = Alive(twin, *inputs), Fields(inputs[0])
    with torch.no_grad(), Inside(twin.eval(), [counter, alive, fields]) as inside, Tracer(inside):
        twin(*inputs)
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
