"""From a name to a module, and a module's weights to and from a file."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from convista.blocks import Net, Spec
from convista.catalogue import catalogue
from convista.errors import InputError, UnknownNameError, WeightsError
from convista.files import write_atomically
from convista.models.cards import NETWORKS
from convista.models.foreign import ForeignSpec, foreign, is_foreign
from convista.models.weights import Origin, Weights, WeightsReport, fill, find_weights
from convista.models.weights.keras import KERAS, in_torch_order
from convista.models.weights.match import layers_of

__all__ = ["Services", "create", "load_weights", "read_spec", "save_weights", "spec"]


def spec(
    name: str,
    classes: int | None = None,
    channels: int | None = None,
    image: int | None = None,
    auxiliary: bool = False,
) -> Spec:
    """The table of the network called `name`; the paper's classes, channels and image size (pixels) where None.

    `timm:NAME`, `torchvision:NAME` and `package.module:function` give networks that are not ours, with the same words.
    `auxiliary` keeps the heads on the side, where the paper has them. Raises `UnknownNameError` for an unknown name,
    `InputError` for sizes that the network cannot take.

    >>> spec("resnet18", classes=3).classes
    3
    """
    for word, number in (("classes", classes), ("channels", channels), ("image", image)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise InputError(f"{word}={number!r} was given; it must be a whole number of at least 1.")
    if is_foreign(name):
        return foreign(name, classes, channels, image)  # type: ignore[return-value]  # it has the same words
    made = NETWORKS[name].spec(classes, channels, auxiliary)
    return made if image is None else made.at(image)


@dataclass(frozen=True)
class Services:
    """What `create` can change on every network, by the words of the same name.

    `output_stride` (8, 16) replaces the later strides by dilation. `stochastic_depth` is the probability of dropping
    the last residual block while training. `checkpointing` trades time for memory. `auxiliary` keeps the heads on the
    side. `partial` takes weights that do not cover the whole network.
    """

    output_stride: int | None = None
    stochastic_depth: float = 0.0
    checkpointing: bool = False
    auxiliary: bool = False
    partial: bool = False

    @classmethod
    def of(cls, words: dict[str, Any]) -> Services:
        """The services asked for. Raises `UnknownNameError`."""
        known = [f.name for f in fields(cls)]
        for word in words:
            if word not in known:
                raise UnknownNameError("option", word, [*known, "classes", "channels", "weights"])
        return cls(**words)

    def on(self, table: Spec) -> Spec:
        """The table with these changes. Raises `InputError` for what its network cannot do."""
        if self.auxiliary and not table.auxiliary:
            raise InputError(
                f"{table.name} has no heads on the side: auxiliary=True is for GoogLeNet and Inception v3."
            )
        if self.output_stride is not None:
            table = table.dilated(self.output_stride)
        return table.with_stochastic_depth(self.stochastic_depth) if self.stochastic_depth else table


def create(
    name: str | Spec,
    classes: int | None = None,
    channels: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    **services: Any,
) -> Net:
    """The network called `name` as an ordinary module; its table is `.spec`. (N, channels, H, W) -> (N, classes).

    In place of a name a `Spec` of your own may stand, which says itself how many classes and channels it has; and
    `timm:NAME`, `torchvision:NAME`, `package.module:function` give the module that they name. `weights` is a file, a
    repository of the Hugging Face Hub, a file name of torchvision, or `"published"` for those that the network's card
    names; without it the weights are fresh from torch's generator. What the weights ask for, such as TensorFlow's
    padding, the network gets; the report of their import is `net.weights`, what they expect of a picture
    `net.preprocessing`. `services` are those of `Services`. Raises `UnknownNameError`, `InputError`, `WeightsError`.

    >>> import torch
    >>> net = create("resnet20", classes=3)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3])
    """
    asked = Services.of(services)
    if isinstance(name, Spec):
        if classes not in (None, name.classes) or channels not in (None, name.channels):
            raise InputError(f"The table of '{name.name}' has {name.classes} classes and {name.channels} channels.")
        table = name
    else:
        table = spec(name, classes, channels, auxiliary=asked.auxiliary)
    if not isinstance(table, Spec):
        return _of_another_library(table, weights, asked)  # type: ignore[unreachable]
    if weights is None:
        return _built(asked.on(table), asked)
    found = find_weights(_published(table) if weights == "published" else weights)
    _refuse_another(table, found, asked.partial)
    if classes is None and not isinstance(name, Spec):
        theirs = _classes_of(found, table)
        if theirs not in (None, table.classes):
            table = spec(name, theirs, channels, auxiliary=asked.auxiliary)
    net = _built(asked.on(_as_trained(table, found)), asked)
    _fill(net, found, asked.partial, head_may_differ=classes is not None)
    return net


def _published(table: Spec) -> str:
    """The name of the weights that the catalogue's figures are of. Raises `WeightsError` where it has none."""
    row = catalogue().get(table.name)
    if row is None or not row.weights:
        known = ", ".join(name for name, row in catalogue().items() if row.weights)
        raise WeightsError(f"No weights of {table.name} can be fetched by name. They can of {known}.")
    return row.weights


def _built(table: Spec, asked: Services) -> Net:
    net = table()
    net.checkpointing = asked.checkpointing
    if table.name in NETWORKS:
        net.preprocessing = NETWORKS[table.name].preprocessing.with_channels(table.channels)
    return net


def _classes_of(found: Weights, table: Spec) -> int | None:
    """The classes of a file: the width of the one layer that could be the last of this table."""
    with torch.device("meta"):
        *_, head = layers_of(Net(table).state_dict()).values()
    inner = head["weight"].shape[1] if "weight" in head else 0
    fitting = [
        layer["weight"]
        for other, layer in layers_of(found.state).items()
        if "weight" in layer and layer["weight"][:1].numel() == inner and "bias" in layer
        if not other.lower().startswith("aux") and "running_mean" not in layer and layer["weight"].shape[0] != inner
    ]
    dense = [weight for weight in fitting if weight.ndim == 2]  # before 1x1 convolutions, which may have biases too
    wide = [len(weight) for weight in dense or fitting]
    return wide[-1] if len(set(wide)) == 1 else None


def _of_another_library(table: ForeignSpec, weights: Any, asked: Services) -> Any:
    """The module, its weights filled in by its own names. What would change a table is refused."""
    for f in fields(asked):
        if f.name != "partial" and getattr(asked, f.name) != f.default:
            raise InputError(f"{f.name} changes a table, and {table.name} has none: see what its own library offers.")
    net: Any = table()
    if weights is None:
        return net
    found = find_weights(weights)
    if found.origin.padding == "same" or found.origin.framework:
        raise WeightsError(
            f"{found.source} was trained with TensorFlow's padding, which {table.name} may not have: it would answer "
            "wrong without a complaint. Use a network of our own, which takes the padding from the weights."
        )
    report = fill(net, found.state, found.ordered, asked.partial)
    net.weights = replace(report, source=found.source, sha256=found.sha256)
    net.preprocessing = found.origin.preprocessing
    return net


def _origin(table: Spec, found: Weights) -> Origin:
    """What the weights ask for; of Keras' files the network decides. Raises `WeightsError` where Keras has no twin."""
    if found.origin.framework != "keras":
        return found.origin
    if table.name not in KERAS:
        near = difflib.get_close_matches(table.name, KERAS, n=2, cutoff=0.5)
        hint = f" The nearest that it has is {' or '.join(near)}." if near else ""
        raise WeightsError(f"{found.source} was written by Keras, which has no network equal to {table.name}.{hint}")
    return KERAS[table.name]


def _refuse_another(table: Spec, found: Weights, partial: bool) -> None:
    """Networks whose weights have the same shapes are not the same: a name in the file tells."""
    known = found.origin.network
    if known and known != table.name and table.name in NETWORKS and not partial:
        raise WeightsError(f"{found.source} holds the weights of {known}, and the network is {table.name}.")


def _as_trained(table: Spec, found: Weights) -> Spec:
    """The table with the padding and the constants that the weights were trained with."""
    origin = _origin(table, found)
    if origin.padding in ("same", "zeros"):
        table = table.padded_same(zeros=origin.padding == "zeros")
    return table.with_norm(origin.eps) if origin.eps is not None else table


def _fill(net: Net, found: Weights, partial: bool, head_may_differ: bool = False) -> WeightsReport:
    origin, state = _origin(net.spec, found), found.state
    if found.origin.framework == "keras":
        state = in_torch_order(state, net.spec.flattened, origin.channel_order == "bgr")
    report = fill(net, state, found.ordered, partial, head_may_differ)
    net.weights = replace(report, source=found.source, sha256=found.sha256)
    if origin.preprocessing is not None:
        net.preprocessing = origin.preprocessing
    return net.weights  # type: ignore[no-any-return]


def load_weights(net: nn.Module, path: str | os.PathLike[str], partial: bool = False) -> WeightsReport:
    """Fills `net` in place from a file or a name that `create` knows, all or nothing. Raises `WeightsError`.

    Weights that were trained with another padding, another epsilon or other pixels than the network's are refused:
    `create(…, weights=…)` builds the network that they belong to.
    """
    found = find_weights(path)
    if not isinstance(net, Net):
        return fill(net, found.state, found.ordered, partial)
    table = net.spec
    _refuse_another(table, found, partial)
    other = found.origin.padding == "symmetric" and table.padding is not None
    if other or _as_trained(table, found) != table:
        raise WeightsError(
            f"{path} was trained with another padding or epsilon than this {table.name} has: it would load without "
            f"complaint and answer wrong. create('{table.name}', weights='{path}') builds the network it belongs to."
        )
    theirs, ours = _origin(table, found).preprocessing, net.preprocessing if net.weights else None
    if theirs is not None and ours is not None and (theirs.mean, theirs.std) != (ours.mean, ours.std):
        raise WeightsError(
            f"{path} expects pixels scaled by mean {theirs.mean} and std {theirs.std}, the network's present weights "
            f"by {ours.mean} and {ours.std}. Load it into a fresh network."
        )
    return _fill(net, found, partial)


def save_weights(net: nn.Module, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Writes the weights and buffers of `net` as safetensors, whole or not at all. Raises `StorageError`.

    What the network expects of a picture, its padding and its epsilon travel in the file's header.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_atomically(Path(path), save(state, metadata or _own_origin(net).to_metadata()))


def _own_origin(net: nn.Module) -> Origin:
    if not isinstance(net, Net):
        return Origin()
    constants = {module.eps for module in net.modules() if isinstance(module, nn.BatchNorm2d)}
    eps = constants.pop() if len(constants) == 1 else None
    network = net.spec.name if net.spec.name in NETWORKS else ""
    return Origin(net.spec.padding, eps, net.preprocessing, network=network)


def read_spec(text: str) -> Spec:
    """The spec that `to_json` wrote, ours or another library's. Raises `InputError` when the text is none."""
    try:
        data = json.loads(text)
    except ValueError:
        data = {}
    if isinstance(data, dict) and "foreign" in data:
        return foreign(data["foreign"], data["classes"], data["channels"], data["image"])  # type: ignore[return-value]
    return Spec.from_json(text)
