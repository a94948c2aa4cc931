"""One forward and one backward pass of a network, watched layer by layer; the network itself is not touched."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from convista.blocks import ACTIVATIONS, ScaledTanh, weighted
from convista.errors import InputError
from convista.training.health import Diagnosis, LayerHealth, NormState
from convista.training.initial import as_in_a_first_step, wide
from convista.training.symptoms import findings_of

__all__ = ["diagnose"]

LIMITS: dict[type[nn.Module], tuple[float, float]] = {
    nn.Tanh: (-1, 1),
    ScaledTanh: (-1.7159, 1.7159),
    nn.Sigmoid: (0, 1),
}
REFUSALS = (RuntimeError, TypeError, ValueError, LookupError, AssertionError)  # what networks raise


def diagnose(net: nn.Module, x: Tensor, targets: Tensor, model: str = "", data: str = "a batch") -> Diagnosis:
    """What a batch (N, C, H, W), already normalised, and its classes (N,) show in every layer of `net`.

    A network in training mode is looked at as in its first step, one in eval mode as it is in use; dropout is off in
    both. A copy runs: weights, running statistics, gradients, modes and generators of `net` stay as they are. `model`
    and `data` name the two in the result. Raises `InputError` where the network cannot take the batch.
    """
    model = model or type(net).__name__
    twin = _twin(net, model)
    watch = _Watch(twin)
    x = x.detach().clone() if x.is_floating_point() else x.float()  # bytes are pictures that nobody normalised
    x.requires_grad_()  # so that gradients flow through layers that are frozen
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.enable_grad(), as_in_a_first_step(twin):
        try:
            logits = watch.run(twin, x)
            loss = _loss(logits, targets.to(x.device), model)
            loss.backward()  # type: ignore[no-untyped-call]
        except InputError:
            raise
        except REFUSALS as error:
            raise _refusal(model, x, error) from None
    found = Diagnosis(
        model=model,
        data=data,
        image=tuple(x.shape[1:]),
        batch=len(x),
        classes=logits.shape[1],
        mode="first step" if net.training else "in use",
        input_mean=float(wide(x.detach()).mean()),
        input_std=float(wide(x.detach()).std(correction=0)),
        loss=float(loss.detach()),
        guessing=math.log(logits.shape[1]),
        logits_spread=float(wide(logits.detach()).std(0, correction=0).max()),
        layers=tuple(watch.layers()),
    )
    return found.with_findings(findings_of(found))


def _twin(net: nn.Module, model: str) -> nn.Module:
    """A copy to run, whose activations do not overwrite what came in."""
    try:
        twin = copy.deepcopy(net)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{model} cannot be copied, and only a copy is looked at ({error}).") from None
    for parameter in twin.parameters():
        parameter.grad = None
    for module in twin.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  # torch's types know no such attribute
    return twin


def _loss(logits: Any, targets: Tensor, model: str) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        said = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{model} puts out {said}; the doctor looks at classifiers, (N, C, H, W) -> (N, classes).")
    if int(targets.max()) >= logits.shape[1]:
        raise InputError(f"{model} has {logits.shape[1]} classes, the batch has class number {int(targets.max())}.")
    return cross_entropy(logits.float(), targets)


def _refusal(model: str, x: Tensor, error: Exception) -> InputError:
    said = str(error).strip().splitlines()
    if said and "more than 1 value per channel" in said[0]:
        return InputError(
            f"{model} normalises over the batch, and {len(x)} picture of {x.shape[-1]} pixels leaves one value for "
            "each channel. Take a larger --batch or --image."
        )
    size = "x".join(map(str, x.shape))
    return InputError(f"{model} cannot take a batch of {size} ({said[0] if said else type(error).__name__}).")


@dataclass
class _Watch:
    """Notes each layer's output while a network runs, and the gradient that comes back to it."""

    net: nn.Module
    notes: list[tuple[nn.Module, LayerHealth]] = field(default_factory=list)
    gradients: dict[int, float] = field(default_factory=dict)
    axis: int = 1  # of the units in an activation: that of the layer before it

    def __post_init__(self) -> None:
        self.names = {module: name or "(top level)" for name, module in self.net.named_modules()}
        self.filters = set(weighted(self.net))
        self.roles = {module: role for module in self.names if (role := self._role(module))}
        self.running = self.net.training

    def _role(self, module: nn.Module) -> str:
        if module in self.filters:
            return "weights"
        own = next(module.parameters(recurse=False), None) is not None
        inside = any(True for child in module.children() for _ in child.parameters())
        if not any(module.children()) and _is_activation(module):
            return "activation"
        if "Norm" in type(module).__name__ and not inside:
            return "norm"
        return "other" if own and not inside else ""

    def run(self, net: nn.Module, x: Tensor) -> Any:
        """What the network puts out."""
        hooks = [module.register_forward_hook(self._note) for module in self.roles]
        try:
            return net(x)
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        out = next((part for part in out if isinstance(part, Tensor)), None) if isinstance(out, tuple | list) else out
        if not isinstance(out, Tensor) or out.ndim < 2 or not out.is_floating_point():
            return
        role = self.roles[module]
        if role != "activation":
            last = out.ndim < 3 or isinstance(module, nn.Linear | nn.LayerNorm)
            self.axis = -1 if last else 1
        times = 1 + sum(noted is module for noted, _ in self.notes)
        name = self.names[module] + (f" ({times})" if times > 1 else "")
        row = _output(name, module, role, out.detach(), self.axis if out.ndim > 2 else -1)
        if isinstance(module, _BatchNorm) and args and isinstance(args[0], Tensor):
            row = replace(row, norm=_norm(module, args[0].detach(), self.running))
        place = len(self.notes)
        self.notes.append((module, row))
        if out.requires_grad:
            out.register_hook(lambda gradient: self._note_gradient(place, gradient))  # type: ignore[no-untyped-call]

    def _note_gradient(self, place: int, gradient: Tensor) -> None:
        self.gradients[place] = _size(gradient)

    def layers(self) -> list[LayerHealth]:
        """Every layer with its gradients, once the backward pass is done."""
        return [
            replace(row, gradient=self.gradients.get(place, 0.0), **_weights(module))
            for place, (module, row) in enumerate(self.notes)
        ]


def _is_activation(module: nn.Module) -> bool:
    return "activation" in type(module).__module__ or type(module) in ACTIVATIONS.values()


def _size(values: Tensor) -> float:
    return float(wide(values.detach()).norm())


def _output(name: str, module: nn.Module, role: str, out: Tensor, axis: int) -> LayerHealth:
    finite, zero, values = bool(torch.isfinite(out).all()), out == 0, wide(out)
    others = [i for i in range(out.ndim) if i != axis % out.ndim]
    saturated = None
    if limits := LIMITS.get(type(module)):
        low, high = limits
        edge = 0.005 * (high - low)
        saturated = float(wide((values < low + edge) | (values > high - edge)).mean())
    return LayerHealth(
        name=name,
        kind=type(module).__name__,
        role=role,
        shape=tuple(out.shape[1:]),
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        largest=float(values.abs().max()),
        finite=finite,
        zeros=float(wide(zero).mean()),
        dead=float(wide(wide(zero).mean(others) == 1).mean()),
        units=out.shape[axis],
        saturated=saturated,
    )


def _weights(module: nn.Module) -> dict[str, Any]:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return {}
    flat = weight.detach().flatten(1) if weight.ndim > 1 else None
    return {
        "weight": _size(weight),
        "weight_gradient": _gradient(weight) if weight.requires_grad else None,
        "alike": flat is not None and len(flat) > 1 and bool((flat == flat[:1]).all()),
    }


def _gradient(weight: Tensor) -> float:
    return 0.0 if weight.grad is None else _size(weight.grad)


def _norm(module: _BatchNorm, x: Tensor, training: bool) -> NormState:
    """The state of a batch normalisation that has seen `x`, in a network that is in `training` mode or not."""
    mean, variance = module.running_mean, module.running_var
    untrained = None
    if not module.training and mean is not None and variance is not None:
        untrained = bool((mean == 0).all() and (variance == 1).all())
    if module.training or variance is None:
        variance = wide(x).var([i for i in range(x.ndim) if i != 1], correction=0)
    scale = module.weight
    return NormState(
        eps=module.eps,
        momentum=module.momentum,
        flat=float(wide(variance < module.eps).mean()),
        zero=0.0 if scale is None else float(wide(scale.detach() == 0).mean()),
        untrained=untrained,
        values=x.numel() // x.shape[1],
        frozen=training and not module.training,
    )
