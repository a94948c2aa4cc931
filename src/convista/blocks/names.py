"""Layer names: human where the table gave them, and the same view on any other `nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

from convista.errors import UnknownNameError

__all__ = ["LayerShape", "capture", "layers", "shapes"]


def layers(net: nn.Module, pattern: str = "*") -> dict[str, nn.Module]:
    """The modules of `net` whose dotted name matches the glob `pattern`, in the order of the table.

    `*` also crosses dots: `conv4_x.*.act` finds every activation of the stage. Raises `UnknownNameError` when
    nothing matches.

    >>> list(layers(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "1"))
    ['1']
    """
    named = {name: module for name, module in net.named_modules() if name}
    found = {name: module for name, module in named.items() if fnmatchcase(name, pattern)}
    if not found:
        raise UnknownNameError("layer", pattern, named)
    return found


Key = TypeVar("Key")


def capture(net: nn.Module, x: Tensor, wanted: Mapping[Key, str]) -> dict[Key, Tensor]:
    """What the layers named in `wanted` put out while `net(x)` runs, under the keys of `wanted`.

    Maps are copied before a later layer can overwrite them. Raises `UnknownNameError` for an unknown layer.
    """
    named = {name: module for name, module in net.named_modules() if name}
    for name in wanted.values():
        if name not in named:
            raise UnknownNameError("layer", name, named)
    seen: dict[str, Tensor] = {}

    def note(name: str, out: Tensor) -> None:
        seen[name] = out.clone()

    hooks = [
        named[name].register_forward_hook(lambda _, __, out, name=name: note(name, out))
        for name in set(wanted.values())
    ]
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return {key: seen[name] for key, name in wanted.items()}


@dataclass(frozen=True)
class LayerShape:
    """One module as a picture passes through it; shapes leave out the batch."""

    name: str
    module: nn.Module
    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]


def shapes(net: nn.Module, image: tuple[int, int, int]) -> list[LayerShape]:
    """Every module of `net` that a picture (C, H, W) passes through, in the order in which it leaves them.

    Runs `net` once in eval mode on the device of its parameters (on the meta device nothing is computed) and
    leaves no trace on it: hooks are removed and each module's training flag is put back.
    """
    seen: list[LayerShape] = []
    names = {module: name for name, module in net.named_modules()}

    def note(module: nn.Module, args: tuple[object, ...], out: object) -> None:
        if isinstance(out, Tensor) and args and isinstance(args[0], Tensor):
            seen.append(LayerShape(names[module], module, tuple(args[0].shape[1:]), tuple(out.shape[1:])))

    flags = {module: module.training for module in net.modules()}
    hooks = [module.register_forward_hook(note) for module in net.modules()]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, *image, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in flags.items():
            module.training = flag
    return seen
