"""Weights files of any common kind: safetensors, torch's own (tensors only), Keras HDF5. The content decides."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from convista.errors import WeightsError
from convista.models.weights.keras import is_hdf5, read_keras
from convista.models.weights.origin import Origin
from convista.records import Preprocessing

__all__ = ["Weights", "read_weights", "sha256_of"]

NESTS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema", "params")


@dataclass(frozen=True)
class Weights:
    """The tensors of a file, whether they come in the order of the layers, and what the file says of itself."""

    state: dict[str, Tensor]
    ordered: bool
    source: str
    sha256: str
    origin: Origin = field(default_factory=Origin)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Reads a weights file. Raises `WeightsError` when it is none, or holds more than tensors."""
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"There is no weights file at {path}.")
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
        if is_hdf5(start):
            state, origin = read_keras(file), Origin(framework="keras")
            return Weights(state, True, str(path), sha256_of(file), origin)
        if start[8:9] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):  # {: a header of safetensors
            return Weights(_read_torch(file), True, str(path), sha256_of(file))
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
            state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  # not a mapping
        origin = origin_of(metadata)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is not a readable safetensors, torch or Keras file ({error}).") from None
    return Weights(state, False, str(path), sha256_of(file), origin)


def sha256_of(file: Path) -> str:
    """The digest of a whole file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_torch(file: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever an unpickler stumbles over
        raise WeightsError(
            f"{file} was not loaded: it is a pickle that holds more than plain tensors, or it is damaged. Reading such "
            "a pickle can run any code that its author put there. If you trust the author, load it with torch yourself "
            "and save its state_dict; better, ask for a safetensors file. "
            f"({type(error).__name__})"
        ) from None
    return _state_in(found, file)


def _state_in(found: Any, file: Path) -> dict[str, Tensor]:
    """The state in a checkpoint, however it is wrapped."""
    for _ in range(3):
        if not isinstance(found, Mapping):
            break
        tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
        nests = [key for key in NESTS if isinstance(found.get(key), Mapping)]
        if tensors and not nests:
            return tensors
        if not nests:
            break
        found = found[nests[0]]
    raise WeightsError(f"{file} holds no state_dict (a {type(found).__name__} instead of named tensors).")


def origin_of(metadata: Mapping[str, str]) -> Origin:
    """What a safetensors header says: our own words, or those in common use (`padding`, `bn_eps`, `input`).

    >>> origin_of({"padding": "TensorFlow SAME", "bn_eps": "0.001", "input": "RGB, x/127.5-1"}).eps
    0.001
    """
    if "convista" in metadata:
        data = json.loads(metadata["convista"])
        if "preprocessing" in data:
            data["preprocessing"] = Preprocessing.from_json(data["preprocessing"])
        return Origin(**data)
    same = "same" in metadata.get("padding", "").lower()
    eps = metadata.get("bn_eps")
    licence = metadata.get("licence", metadata.get("license", ""))
    return Origin("same" if same else None, float(eps) if eps else None, _pixels(metadata), licence)


def _pixels(metadata: Mapping[str, str]) -> Preprocessing | None:
    words = metadata.get("input", "").replace(" ", "")
    lists = [tuple(float(x) for x in found.split(",")) for found in re.findall(r"\[([\d.,]+)\]", words)]
    if "x/127.5-1" in words:
        mean = std = (0.5, 0.5, 0.5)
    elif "x/255-" in words and len(lists) == 2:
        mean, std = lists  # type: ignore[assignment]
    elif "minus" in words and len(lists) == 1:
        mean, std = tuple(x / 255 for x in lists[0]), (1 / 255,) * 3  # type: ignore[assignment]
    else:
        return None
    sizes = [int(n) for n in re.findall(r"\d+", metadata.get("eval_resize", ""))]
    resize, crop = sizes[:2] if len(sizes) >= 2 else (0, 0)
    side = re.search(r"(\d+)x\1", words)
    if side and not crop:
        resize = crop = int(side[1])
    return Preprocessing(crop or 224, resize or 256, mean, std)
