"""Watching a module run without its numbers: on a copy that has shapes only, operation by operation."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convista.errors import InputError
from convista.pricing.shapes import shaped

Found = TypeVar("Found")

__all__ = [
    "Inputs",
    "Inside",
    "Layer",
    "Observer",
    "Step",
    "Subject",
    "Tracer",
    "generators_kept",
    "tensors_in",
    "weightless",
]


class Layer(NamedTuple):
    """A module under the first of its names; the empty name is the network itself."""

    name: str
    module: nn.Module


class Step(NamedTuple):
    """One operation: what was called with what, what came out, and the innermost layer in which it happened."""

    operation: Any
    args: tuple[Any, ...]
    out: Any
    layer: Layer


class Observer(Protocol):
    """Sees each operation, and what each layer returns."""

    def step(self, step: Step) -> None:
        """An operation is done."""

    def left(self, layer: Layer, out: Any) -> None:
        """A layer has returned `out`."""


class Inside:
    """Knows, while a network runs, in which of its layers it is; tells observers what each layer returns."""

    def __init__(self, net: nn.Module, observers: Sequence[Observer] = ()):
        self.stack = [Layer("", net)]
        self.observers = observers
        self.hooks: list[Any] = []
        for name, module in net.named_modules():
            if name:
                layer = Layer(name, module)
                self.hooks += [
                    module.register_forward_pre_hook(lambda _, __, layer=layer: self.stack.append(layer)),
                    module.register_forward_hook(lambda _, __, out: self._leave(out)),
                ]

    def _leave(self, out: Any) -> None:
        layer = self.stack.pop()
        for observer in self.observers:
            observer.left(layer, out)

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()


class FusedAttention(TorchFunctionMode):
    """Attention as devices do it, in one operation that does not keep its matrix; shapes alone would fall apart."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        words = dict(kwargs or {})
        if func is F.scaled_dot_product_attention and len(args) == 3 and _fusible(args, words):
            words.pop("dropout_p", None)
            words.pop("enable_gqa", None)
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return fused(*args, 0.0, words.pop("is_causal", False), **words)[0]
        return func(*args, **words)


def _fusible(args: tuple[Tensor, Tensor, Tensor], words: dict[str, Any]) -> bool:
    q, k, v = args
    alike = q.is_meta and q.ndim == 4 and k.shape == v.shape and q.shape[:2] == k.shape[:2] and q.shape[3] == k.shape[3]
    return alike and not words.get("dropout_p") and words.get("attn_mask") is None


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells observers about each operation, and in which layer it is."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; to say so to the compiler would load it first, which takes longer than the rest."""
        return False

    def __init__(self, inside: Inside):
        super().__init__()  # type: ignore[no-untyped-call]
        self.inside = inside

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = None if kwargs else shaped(func, args)
        out = func(*args, **(kwargs or {})) if out is None else out
        step = Step(func, args, out, self.inside.stack[-1])
        for observer in self.inside.observers:
            observer.step(step)
        return out


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)


def weightless(net: nn.Module) -> nn.Module:
    """A copy of `net` on the meta device, without its hooks: every shape, no number, and nothing shared with `net`."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in net.modules()):
        raise InputError("A scripted or traced module cannot be watched: price the module that it was made of.")
    memo: dict[int, Any] = {}
    for module in net.modules():
        for tensor in tensors_in(vars(module)):
            memo.setdefault(id(tensor), _shape_of(tensor))
    return _unhooked(copy.deepcopy(net, memo))


def _shape_of(tensor: Tensor) -> Tensor:
    if is_lazy(tensor):
        raise InputError("A lazy layer does not know its shape yet: run the network once before pricing it.")
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _unhooked(net: nn.Module) -> nn.Module:
    for module in net.modules():
        module._backward_pre_hooks.clear()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            hooks.clear()
    return net


REFUSALS = (RuntimeError, TypeError, ValueError, LookupError, AssertionError)  # what networks raise


class Inputs(NamedTuple):
    """What a network is called with: by place, and by name."""

    args: tuple[Any, ...]
    words: dict[str, Any]

    @classmethod
    def of(cls, given: Any, device: torch.device) -> Inputs:
        """A tensor, several of them, or a dict of them, as examples on `device`."""
        moved = _moved(given, device)
        if isinstance(moved, dict):
            return cls((), moved)
        return cls(tuple(moved) if isinstance(moved, tuple | list) else (moved,), {})

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among them."""
        return list(tensors_in([self.args, self.words]))

    def to(self, net: nn.Module) -> Any:
        """What `net` returns for them."""
        return net(*self.args, **self.words)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to(device)
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    return type(value)(_moved(item, device) for item in value) if type(value) in (tuple, list) else value


class Subject:
    """A network that is to be priced for inputs of one shape (without the batch), and the copy that runs in its place.

    The copy has shapes and no numbers; it is made once. Where a network looks at its values, a copy with numbers runs.
    With `ours` the network is a skeleton that nobody else has, and runs itself.
    """

    def __init__(self, net: nn.Module, name: str, shape: tuple[int, ...], *, ours: bool = False, inputs: Any = None):
        self.net, self.name, self.shape, self.given = net, name, shape, inputs
        self.copy = net if ours else None

    def watched(self, batch: int, run: Callable[[nn.Module, Inputs], Found]) -> Found:
        """What `run(copy, inputs)` returns. Raises `InputError` when the network cannot take the input.

        The generators of torch and of Python are where they were when it is done.
        """
        with generators_kept(), torch.inference_mode(False), FusedAttention():
            try:
                if self.copy is None:
                    self.copy = weightless(self.net)
                return run(self.copy, self._inputs(self.copy, batch, "meta"))
            except InputError:
                raise
            except REFUSALS as error:
                if any(p.is_meta for p in self.net.parameters()):
                    raise self._refusal(error) from None
            try:
                full = _unhooked(copy.deepcopy(self.net))
                with _by_operation():
                    found = run(full, self._inputs(full, batch, "cpu"))
            except InputError:
                raise
            except REFUSALS as error:
                raise self._refusal(error) from None
            self.copy = full
            return found

    def _inputs(self, net: nn.Module, batch: int, device: str) -> Inputs:
        """What was given, or (batch, *shape) of the weights' type; on their device, `device` where there are none."""
        place = next((p.device for p in net.parameters()), torch.device(device))
        if self.given is not None:
            return Inputs.of(self.given, place)
        kinds = (p.dtype for p in net.parameters() if p.is_floating_point())
        return Inputs(
            (torch.zeros(batch, *self.shape, device=place, dtype=next(kinds, torch.get_default_dtype())),), {}
        )

    def _refusal(self, error: Exception) -> InputError:
        said = str(error).strip().splitlines()
        size = "x".join(map(str, self.shape))
        return InputError(f"{self.name} cannot take an input of {size} ({said[0] if said else type(error).__name__}).")


@contextmanager
def _by_operation() -> Iterator[None]:
    """Without the fast path that does a whole layer of attention in one operation."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leaves the generators of torch, of NumPy and of Python as they were."""
    state, numbers = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numbers)
