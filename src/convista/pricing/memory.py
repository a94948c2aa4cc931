"""What a network keeps in memory, found on shapes alone.

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

from convista.errors import InputError, UnknownNameError
from convista.pricing.trace import Inside, Layer, Step, Tracer, tensors_in, watched
from convista.records import Memory

__all__ = ["STATES", "Alive", "bytes_of", "inference_peak", "largest_batch", "memory", "saved_for_backward", "state_of"]

STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "muon": 1, "adam": 2, "adamw": 2, "lamb": 2}


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
    yield from net.parameters()
    yield from net.buffers()


def bytes_of(tensors: Iterator[Tensor]) -> int:
    """Shared ones count once."""
    return sum({_key(t): t.numel() * t.element_size() for t in tensors}.values())


def saved_for_backward(net: nn.Module, shape: tuple[int, ...], batch: int = 1) -> dict[str, int]:
    """Bytes that a forward pass in training saves for its backward pass, by the layer that saves them first.

    Weights and buffers are not among them; the pictures are, if a layer needs them.
    """
    if batch > 1:
        return watched(net, shape, batch, _saved)
    try:
        return watched(net, shape, 1, _saved)
    except InputError:  # batch normalisation cannot train on a single value
        return {name: size // 2 for name, size in watched(net, shape, 2, _saved).items()}


def _saved(twin: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, int]:
    known: dict[int, Any] = {_key(tensor): tensor for tensor in state_of(twin)}
    saved: Counter[str] = Counter()

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known[storage._cdata] = storage  # alive, so that no other storage takes its place
            saved[inside.stack[-1].name] += storage.nbytes()

    with Inside(twin) as inside, torch.autograd.graph.saved_tensors_hooks(pack, _never), torch.enable_grad():
        twin.train()(*inputs)
    return dict(saved)


def _never(_: None) -> Tensor:
    raise AssertionError("a price needs no backward pass")


def memory(net: nn.Module, shape: tuple[int, ...], batch: int = 32, optimizer: str = "adamw") -> Memory:
    """What a training step and an inference on `batch` pictures of `shape` need. Raises `InputError`."""
    if optimizer not in STATES:
        raise UnknownNameError("optimizer", optimizer, STATES)
    trained = bytes_of(p for p in net.parameters() if p.requires_grad)
    static = bytes_of(state_of(net))
    return Memory(
        batch=batch,
        optimizer=optimizer,
        weights=static,
        gradients=trained,
        optimizer_state=STATES[optimizer] * trained,
        activations=sum(watched(net, shape, batch, _saved).values()),
        peak_train=static + STATES[optimizer] * trained + watched(net, shape, batch, _step_peak),
        peak_infer=inference_peak(net, shape, batch),
    )


def _step_peak(twin: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """The most that is alive at once in a forward and a backward pass: maps, their gradients, those of the weights."""
    alive = Alive(twin, *inputs)
    with torch.enable_grad(), Inside(twin, [alive]) as inside, Tracer(inside):
        sum(out.sum() for out in tensors_in(twin.train()(*inputs)) if out.requires_grad).backward()  # type: ignore[union-attr]
    return alive.peak


def inference_peak(net: nn.Module, shape: tuple[int, ...], batch: int = 1) -> int:
    """Bytes of weights and maps at the worst moment of inference on `batch` pictures. Raises `InputError`."""
    return bytes_of(state_of(net)) + int(watched(net, shape, batch, _inference_peak))


def _inference_peak(twin: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    alive = Alive(twin, *inputs)
    with torch.no_grad(), Inside(twin.eval(), [alive]) as inside, Tracer(inside):
        twin(*inputs)
    return alive.peak


def largest_batch(net: nn.Module, shape: tuple[int, ...], budget: float, optimizer: str | None = "adamw") -> int:
    """The largest batch whose training step fits into `budget` bytes; whose inference does, where `optimizer` is None.

    0 where none fits. Peaks are worked out at a few batches; between two of them they grow in a straight line.
    """
    known = {batch: _peak(net, shape, batch, optimizer) for batch in (2, 4)}
    while True:
        low, high = sorted(known, key=lambda batch: abs(known[batch] - budget))[:2]
        slope = (known[high] - known[low]) / (high - low)
        guess = max(1, int(low + (budget - known[low]) / slope))
        if guess in known:
            return max((batch for batch in known if known[batch] <= budget), default=0)
        known[guess] = _peak(net, shape, guess, optimizer)


def _peak(net: nn.Module, shape: tuple[int, ...], batch: int, optimizer: str | None) -> float:
    if optimizer is None:
        return inference_peak(net, shape, batch)
    try:
        return memory(net, shape, batch, optimizer).peak_train
    except InputError:
        if batch > 1:
            raise
        return float("inf")  # batch normalisation cannot train on a single value
