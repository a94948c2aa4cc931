"""The weights that training starts from: by name, and for LSUV by what real pictures make of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold
from torch.nn.modules.batchnorm import _BatchNorm

from convista.blocks import INITIALISERS, orthonormal, scale_weights, weighted, zero_last
from convista.errors import InputError
from convista.recipe import Recipe

__all__ = ["as_in_a_first_step", "first_convolution", "freeze_whitened", "initialise", "lsuv", "whiten", "wide"]

MOST = 256  # pictures that LSUV looks at


def initialise(net: nn.Module, recipe: Recipe, pictures: Callable[[], Tensor]) -> None:
    """Writes the recipe's initial weights into `net`; leaves the network's own where the recipe names none.

    `pictures` gives the first batch, normalised, on the network's device; only LSUV and whitening ask for it. The same
    weights come out on every process, as torch's generator and the pictures are the same. Raises `InputError` for
    `zero_last` where there is no residual branch.
    """
    if recipe.init == "lsuv":
        lsuv(net, pictures()[:MOST])
    elif recipe.init is not None:
        INITIALISERS[recipe.init](net)
    if recipe.zero_last:
        zero_last(net)
    scale_weights(net, recipe.init_scale)
    if recipe.whiten:
        whiten(net, pictures())


def lsuv(net: nn.Module, batch: Tensor, tolerance: float = 0.02, tries: int = 10) -> dict[str, float]:
    """Orthonormal kernels, then layer after layer scaled until its output on `batch` has variance 1.

    Mishkin and Matas 2015, algorithm 1. The layers are the convolutions and linear ones, in the order in which they
    run; a layer that runs more than once counts where it runs first. Returns the variance of each layer's output by
    its name. A layer whose output does not vary, or whose variance does not follow its weights, stays orthonormal.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    >>> {name: round(variance, 1) for name, variance in lsuv(net, torch.randn(16, 3, 8, 8)).items()}
    {'0': 1.0, '2': 1.0}
    """
    orthonormal(net)
    names = {module: name for name, module in net.named_modules()}
    found: dict[str, float] = {}

    def scale(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        if names[module] in found:
            return None
        out, found[names[module]] = _scaled(module, args, out, tolerance, tries)
        return out

    with as_in_a_first_step(net), torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
        hooks = [module.register_forward_hook(scale) for module in weighted(net)]
        try:
            net(batch)
        finally:
            for hook in hooks:
                hook.remove()
    return found


def _scaled(
    module: nn.Module, args: tuple[Tensor, ...], out: Tensor, tolerance: float, tries: int
) -> tuple[Tensor, float]:
    """The layer's output and its variance, once its weights are scaled."""
    weight, variance = module.weight, _variance(out)
    assert isinstance(weight, Tensor)
    for _ in range(tries):
        if abs(variance - 1) <= tolerance or not (variance > 0 and math.isfinite(variance)):
            break
        before = weight.clone()
        weight.div_(math.sqrt(variance))
        fresh = module.forward(*args)
        if not abs(_variance(fresh) - 1) < abs(variance - 1):  # the layer scales its weights itself
            weight.copy_(before)
            break
        out, variance = fresh, _variance(fresh)
    return out, variance


def wide(values: Tensor) -> Tensor:
    """In double precision, where the device has it."""
    return values.float() if values.device.type == "mps" else values.double()


def _variance(values: Tensor) -> float:
    return float(wide(values).var(correction=0))


@contextmanager
def as_in_a_first_step(net: nn.Module) -> Iterator[None]:
    """Normalisations take the batch's statistics, and nothing is left to chance: no dropout, no dropped branches.

    Modes and running statistics are put back.
    """
    flags = {module: module.training for module in net.modules()}
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    try:
        for module in net.modules():
            module.training = module.training and isinstance(module, _BatchNorm)
        yield
    finally:
        for module, flag in flags.items():
            module.training = flag
        with torch.no_grad():
            for name, buffer in net.named_buffers():
                buffer.copy_(buffers[name])


PATCHES = 100_000  # about so many are looked at
EPSILON = 5e-4  # added to the variance of a direction: what hardly varies is not blown up


def first_convolution(net: nn.Module) -> nn.Conv2d:
    """The network's first convolution, which sees colours. Raises `InputError` where it cannot whiten."""
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.groups != 1 or first.out_channels < 2:
        raise InputError("whiten needs a network whose first layer is an ordinary convolution. Leave --whiten out.")
    return first


@torch.no_grad()
def whiten(net: nn.Module, batch: Tensor) -> None:
    """The first convolution's kernels become the directions in which patches of `batch` (N, C, H, W) vary most.

    Each is scaled to a variance of 1, and comes once as it is and once negated, for the rectifier behind (Page 2019;
    Jordan 2024). Where the layer has more kernels than that, the others keep their weights.
    """
    layer = first_convolution(net)
    steps = max(1, round(math.sqrt(batch[:, 0].numel() / PATCHES)))
    patches = unfold(batch.double().cpu(), layer.kernel_size, stride=steps).transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    scaled = (vectors / (values + EPSILON).sqrt()).T.flip(0)[: layer.out_channels // 2]
    kernels = torch.cat([scaled, -scaled]).view(-1, *layer.weight.shape[1:])
    layer.weight[: len(kernels)] = kernels.to(layer.weight)


def freeze_whitened(net: nn.Module, recipe: Recipe) -> None:
    """What whitens is not learned; its bias is."""
    if recipe.whiten:
        first_convolution(net).weight.requires_grad_(False)
