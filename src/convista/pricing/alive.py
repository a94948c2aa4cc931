"""Which tensors a network keeps alive, found on shapes alone.

Training keeps what the backward pass will need (the activations that autograd saves, by storage, so that a map that
two layers need counts once), besides weights, gradients and the optimiser's state. Inference needs, at its worst
moment, the maps that are alive at once. What kernels borrow while they work is not foreseen.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from convista.errors import InputError
from convista.pricing.trace import Inputs, Inside, Layer, Step, Subject, Tracer, tensors_in

__all__ = ["Alive", "bytes_of", "inference_peak", "saved_for_backward", "state_of", "training_peak"]


class Alive:
    """An observer that adds up the bytes of the tensors that are alive; weights and buffers are not among them."""

    def __init__(self, net: nn.Module, *inputs: Tensor):
        self.kept = {_key(tensor) for tensor in state_of(net)}
        self.now = self.peak = 0
        for tensor in inputs:
            self._add(tensor)

    def step(self, step: Step) -> None:
        """Adds what an operation made."""
        for tensor in tensors_in(step.out):
            self._add(tensor)

    def left(self, layer: Layer, out: Any) -> None:
        """Nothing: a layer makes what its operations make."""

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self.kept:
            return
        self.kept.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self.kept.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def state_of(net: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers."""
    yield from net.parameters()
    yield from net.buffers()


def bytes_of(tensors: Iterator[Tensor]) -> int:
    """Shared ones count once."""
    return sum({_key(t): t.numel() * t.element_size() for t in tensors}.values())


def saved_for_backward(subject: Subject, batch: int = 1) -> dict[str, int]:
    """Bytes that a forward pass in training saves for its backward pass, by the layer that saves them first.

    Weights and buffers are not among them; the pictures are, if a layer needs them.
    """
    if batch > 1:
        return subject.watched(batch, _saved)
    try:
        return subject.watched(1, _saved)
    except InputError:  # batch normalisation cannot train on a single value
        return {name: size // 2 for name, size in subject.watched(2, _saved).items()}


def _saved(twin: nn.Module, inputs: Inputs) -> dict[str, int]:
    known: dict[int, Any] = {_key(tensor): tensor for tensor in state_of(twin)}
    saved: Counter[str] = Counter()

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known[storage._cdata] = storage  # alive, so that no other storage takes its place
            saved[inside.stack[-1].name] += storage.nbytes()

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, _never)
    with torch.enable_grad(), Inside(twin) as inside, Tracer(inside), hooks:
        inputs.to(twin.train())
    return dict(saved)


def _never(_: None) -> Tensor:
    raise AssertionError("a price needs no backward pass")


def _step(twin: nn.Module, inputs: Inputs) -> int:
    """The most that is alive at once in a forward and a backward pass: maps, their gradients, those of the weights."""
    alive = Alive(twin, *inputs.tensors)
    with torch.enable_grad(), Inside(twin, [alive]) as inside, Tracer(inside):
        outputs = [out.sum() for out in tensors_in(inputs.to(twin.train())) if out.requires_grad]
        if outputs:  # something is trained
            torch.stack(outputs).sum().backward()  # type: ignore[no-untyped-call]
    twin.zero_grad()
    return alive.peak


def training_peak(subject: Subject, batch: int) -> int:
    """Bytes of inputs, maps and gradients at the worst moment of a training step; weights and optimizer left out."""
    return subject.watched(batch, _step)


def inference_peak(subject: Subject, batch: int = 1) -> int:
    """Bytes of weights and maps at the worst moment of inference on `batch` pictures. Raises `InputError`."""
    return bytes_of(state_of(subject.net)) + subject.watched(batch, _inference)


def _inference(twin: nn.Module, inputs: Inputs) -> int:
    alive = Alive(twin, *inputs.tensors)
    with torch.no_grad(), Inside(twin.eval(), [alive]) as inside, Tracer(inside):
        inputs.to(twin)
    return alive.peak
