"""A pretrained network up to the layer whose values are the features."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convista.data import Normalise
from convista.errors import InputError, UnknownNameError
from convista.records import View
from convista.training import Arithmetic

__all__ = ["Trunk", "check_head", "last_layer"]


class _Reached(Exception):  # noqa: N818  # no error: what lies behind the layer need not be computed
    """Holds the features."""


@dataclass
class Trunk:
    """Bytes (N, C, image, image) -> features: of the layer named `layer`, or what the classifier, the last, is given.

    Vectors (N, D), maps averaged over their places; with `maps` maps stay (N, D, H, W). Batch normalisation is in eval
    mode, nothing is learned. Raises `UnknownNameError` for a layer that is not there.
    """

    net: nn.Module
    view: View
    device: torch.device
    layer: str = ""
    maps: bool = False
    precision: str = "fp32"
    normalise: Normalise = field(init=False)

    def __post_init__(self) -> None:
        modules = dict(self.net.named_modules())
        if self.layer and self.layer not in modules:
            raise UnknownNameError("layer", self.layer, [name for name in modules if name])
        self.net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalise = Normalise.of(self.view, self.device)
        self._module = modules[self.layer] if self.layer else last_layer(self.net)

    def __call__(self, pictures: Tensor) -> Tensor:
        """The features of a batch, in float32."""
        with torch.inference_mode(), self._stopping(), self._exactly(), Arithmetic(self.precision, self.device)():
            try:
                self.net(self.normalise(pictures.to(self.device)))
            except _Reached as reached:
                return self._formed(reached.args[0]).float()
        raise InputError(f"The layer '{self.layer}' takes no part in the network's answer.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture's features."""
        blank = torch.zeros(1, self.view.channels, self.view.image, self.view.image, dtype=torch.uint8)
        return tuple(self(blank).shape[1:])

    def _exactly(self) -> AbstractContextManager[None]:
        """Convolutions in fp32 are that on a GPU, too, where torch would take fewer bits (TF32) by itself."""
        if self.precision != "fp32" or self.device.type != "cuda":
            return nullcontext()
        now = torch.backends.cudnn
        return now.flags(now.enabled, now.benchmark, deterministic=now.deterministic, allow_tf32=False)

    def _formed(self, values: Any) -> Tensor:
        if not isinstance(values, Tensor):
            raise InputError(f"The layer '{self.layer}' gives a {type(values).__name__}, not one array: take another.")
        return values if self.maps or values.ndim != 4 else values.mean((2, 3))

    def _stopping(self) -> Any:
        """A hook at the layer that ends the pass there."""

        def behind(_: nn.Module, __: Any, output: Tensor) -> None:
            raise _Reached(output)

        def before(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            raise _Reached(given[0])

        module = self._module
        return module.register_forward_hook(behind) if self.layer else module.register_forward_pre_hook(before)


def check_head(net: nn.Module, channels: int, image: int, name: str) -> None:
    """Raises `InputError` unless the network's answer is what its last layer with weights says, so that a layer found
    on the features before it can take its place.
    """
    seen: list[Tensor] = []
    last = last_layer(net)
    hook = last.register_forward_hook(lambda _, __, output: seen.append(output))
    mode, device = net.training, last.weight.device
    noise = torch.rand(2, channels, image, image, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with torch.inference_mode():
            answer = net.eval()(noise)
    finally:
        hook.remove()
        net.train(mode)
    said = [output.mean((2, 3)) if output.ndim == 4 else output for output in seen]
    if not (said and isinstance(answer, Tensor) and said[-1].shape == answer.shape):
        raise InputError(f"The classes of {name} are not told by its last layer with weights: no head can replace it.")
    if not torch.allclose(said[-1], answer, rtol=1e-2, atol=1e-3 * float(answer.abs().max())):
        raise InputError(f"Behind its last layer with weights {name} goes on: no head can replace it.")
    if last.bias is None:
        raise InputError(f"The last layer of {name} has no bias, which a head needs.")


def last_layer(net: nn.Module) -> nn.Linear | nn.Conv2d:
    """The classifier: the last layer with weights. Raises `InputError` where there is none."""
    weighted = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if not weighted:
        raise InputError(f"{type(net).__name__} has no layer with weights, so nothing comes before its last one.")
    return weighted[-1]
