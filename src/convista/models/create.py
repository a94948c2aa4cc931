"""From a name to a module, and a module's weights to and from a file."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from convista.blocks import Net, Spec
from convista.errors import InputError, WeightsError
from convista.files import write_atomically
from convista.models.cards import NETWORKS

__all__ = ["create", "load_weights", "save_weights", "spec"]


def spec(name: str, classes: int | None = None, channels: int | None = None, image: int | None = None) -> Spec:
    """The table of the network called `name`; the paper's classes, channels and image size (pixels) where None.

    Raises `UnknownNameError` for an unknown name, `InputError` for sizes that the network cannot take.

    >>> spec("resnet18", classes=3).classes
    3
    """
    for word, number in (("classes", classes), ("channels", channels), ("image", image)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise InputError(f"{word}={number!r} was given; it must be a whole number of at least 1.")
    made = NETWORKS[name].spec(classes, channels)
    return made if image is None else made.at(image)


def create(
    name: str | Spec,
    classes: int | None = None,
    channels: int | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Net:
    """The network called `name` as an ordinary module; its table is `.spec`. (N, channels, H, W) -> (N, classes).

    In place of a name a `Spec` of your own may stand, which says itself how many classes and channels it has.
    `weights` is a safetensors file in our own names; without it the weights are fresh from torch's generator.
    Raises `UnknownNameError`, `InputError` or `WeightsError`.

    >>> import torch
    >>> net = create("resnet20", classes=3)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3])
    """
    if isinstance(name, Spec):
        if classes not in (None, name.classes) or channels not in (None, name.channels):
            raise InputError(f"The table of '{name.name}' has {name.classes} classes and {name.channels} channels.")
        net = name()
    else:
        net = spec(name, classes, channels)()
    if weights is not None:
        load_weights(net, weights)
    return net


def load_weights(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fills `net` in place from a safetensors file, all or nothing. Raises `WeightsError`."""
    if not Path(path).is_file():
        raise WeightsError(f"There is no weights file at {path}.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}).") from None
    ours = net.state_dict()
    missing, unexpected = sorted(ours.keys() - state.keys()), sorted(state.keys() - ours.keys())
    shaped = sorted(
        f"{name} {tuple(state[name].shape)} instead of {tuple(ours[name].shape)}"
        for name in ours.keys() & state.keys()
        if ours[name].shape != state[name].shape
    )
    if missing or unexpected or shaped:
        lists = {"missing": missing, "unexpected": unexpected, "of another shape": shaped}
        said = "; ".join(f"{len(names)} {word}: {', '.join(names[:3])}" for word, names in lists.items() if names)
        raise WeightsError(f"The weights in {path} do not fit the network. {said}.")
    net.load_state_dict(state)


def save_weights(net: nn.Module, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Writes the weights and buffers of `net` as safetensors, whole or not at all. Raises `StorageError`."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_atomically(Path(path), save(state, metadata))
