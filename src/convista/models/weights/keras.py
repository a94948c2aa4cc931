"""Weights that Keras wrote (`.h5`): layouts and names, without Keras and without TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convista.errors import WeightsError
from convista.models.cards import CAFFE, IMAGENET, TENSORFLOW
from convista.models.weights.origin import Origin

if TYPE_CHECKING:
    import h5py

__all__ = ["KERAS", "in_torch_order", "is_hdf5", "read_keras"]

SAME = Origin("same", 1e-3, TENSORFLOW)
# Our networks of which keras.applications has a twin: padding, epsilon and pixels there.
KERAS = {
    **{f"densenet{depth}": Origin(None, 1.001e-5, IMAGENET) for depth in (121, 169, 201)},
    **{f"efficientnet_b{i}": Origin("same", 1e-3, IMAGENET) for i in range(8)},
    **{f"mobilenet{width}": SAME for width in ("", "_075", "_050", "_025")},
    **{f"mobilenet_v2{width}": SAME for width in ("", "_035", "_050", "_075", "_130", "_140")},
    **{f"resnet{depth}_v1": Origin(None, 1.001e-5, CAFFE, channel_order="bgr") for depth in (50, 101, 152)},
    **{f"vgg{depth}": Origin(None, None, CAFFE, channel_order="bgr") for depth in (16, 19)},
    **dict.fromkeys(("inception_v3", "inception_resnet_v2", "xception"), SAME),
    **dict.fromkeys(("nasnet_mobile", "nasnet_large"), Origin("zeros", 1e-3, TENSORFLOW)),
}

DEPTHWISE = re.compile(r"depthwise|dw")
KINDS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "bias": "bias",
}


def is_hdf5(start: bytes) -> bool:
    """Whether a file that begins like this is HDF5."""
    return start.startswith(b"\x89HDF\r\n\x1a\n")


def read_keras(file: Path) -> dict[str, Tensor]:
    """The tensors of a Keras file under `layer.kind`, in torch's layouts, in the order of the file's layers.

    A kernel (H, W, in, out) becomes (out, in, H, W); a depthwise one (H, W, in, times) becomes (in * times, 1, H, W);
    a dense one (in, out) becomes (out, in). A separable convolution's two kernels become two layers. Raises
    `WeightsError` when h5py is not installed or the file has another structure.
    """
    try:
        import h5py
    except ImportError:
        raise WeightsError(f"{file} is a Keras file; reading it needs h5py: pip install 'convista[keras]'.") from None
    state: dict[str, Tensor] = {}
    with h5py.File(file, "r") as stored:
        root = stored.get("model_weights", stored)
        names = root.attrs.get("layer_names")
        if names is None:
            raise WeightsError(
                f"{file} has no list of layers: expected a file of keras.applications, or model.save(….h5)."
            )
        for name in map(_text, names):
            for path in map(_text, root[name].attrs.get("weight_names", ())):
                _add(state, name, path.rpartition("/")[2].partition(":")[0], _tensor(root[name], path))
    if not state:
        raise WeightsError(f"{file} holds no weights.")
    return state


def _tensor(group: h5py.Group, path: str) -> Tensor:
    return torch.as_tensor(group[path][()])


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _add(state: dict[str, Tensor], layer: str, kind: str, value: Tensor) -> None:
    if kind == "depthwise_kernel" or (kind == "kernel" and value.shape[-1] == 1 and DEPTHWISE.search(layer)):
        name = f"{layer}/depthwise" if kind == "depthwise_kernel" else layer
        state[f"{name}.weight"] = value.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)
    elif kind == "pointwise_kernel":
        state[f"{layer}/pointwise.weight"] = value.permute(3, 2, 0, 1)
    elif kind == "kernel":
        state[f"{layer}.weight"] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T
    elif kind in KINDS:
        if kind == "beta":  # a normalisation without gamma has weight 1
            state.setdefault(f"{layer}.weight", torch.ones_like(value))
        state[f"{layer}.{KINDS[kind]}"] = value


def in_torch_order(state: dict[str, Tensor], flattened: tuple[int, int] | None, bgr: bool) -> dict[str, Tensor]:
    """The state for pictures in R G B order and for maps flattened channel by channel, as torch has them.

    `flattened` is (channels, side) of the map that the network flattens, if it does: Keras flattens it position by
    position. `bgr` turns the first kernel round.
    """
    made = dict(state)
    for key, value in state.items():
        if flattened and value.ndim == 2 and value.shape[1] == flattened[0] * flattened[1] ** 2:
            channels, side = flattened
            made[key] = value.reshape(-1, side, side, channels).permute(0, 3, 1, 2).flatten(1)
    first = next((key for key, value in state.items() if value.ndim == 4), None)
    if bgr and first is not None:
        made[first] = state[first].flip(1)
    return made
