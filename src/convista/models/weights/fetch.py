"""Weights by name: from the Hugging Face Hub and from torchvision's server, checked, cached and resumed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock
from torch import Tensor

from convista.catalogue import catalogue
from convista.data import user_cache
from convista.errors import OfflineError, WeightsError
from convista.files import storage_error
from convista.models.weights.origin import Origin
from convista.models.weights.read import Weights, read_weights, sha256_of
from convista.records import Preprocessing

__all__ = ["TORCHVISION", "download", "find_weights"]

TORCHVISION = "https://download.pytorch.org/models/"
HASHED = re.compile(r"[\w.-]+-([0-9a-f]{8,64})\.pth")  # torch's custom: the name holds the beginning of the sha256
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
CHUNK = 1 << 20


def find_weights(name: str | os.PathLike[str]) -> Weights:
    """The weights called `name`: a file's path; `owner/repository` on the Hugging Face Hub; or torchvision's file name.

    What is fetched stays in the user's cache, so that it is there without a network the next time. Raises
    `WeightsError` when nothing has that name, a digest is wrong, or the network is missing.
    """
    text = str(name)
    if Path(name).is_file():
        return _known(read_weights(name), Path(name))
    if HASHED.fullmatch(text.removeprefix("torchvision:")):
        file = download(text.removeprefix("torchvision:"))
        return _known(read_weights(file), file)
    repository = text.removeprefix("hf-hub:").removeprefix("hf:")
    if REPOSITORY.fullmatch(repository) and Path(name).suffix not in (".safetensors", ".pth", ".h5", ".pt", ".th"):
        return _from_hub(repository)
    raise WeightsError(
        f"There are no weights called '{name}'. Expected the path of a file, a repository of the Hugging Face Hub such "
        "as timm/resnet50.a1_in1k, or a file name of torchvision such as resnet50-0676ba61.pth."
    )


def _known(found: Weights, file: Path) -> Weights:
    """What is known of a file by its name, or by the `config.json` beside it, added to what it says itself."""
    beside = file.with_name("config.json")
    if beside.is_file() and found.origin == Origin():
        try:
            return _configured(found, json.loads(beside.read_text(encoding="utf-8")))
        except (ValueError, TypeError, AttributeError, KeyError):
            return found  # some other program's
    row = next((row for row in catalogue().values() if row.weights == file.name), None)
    if row is None:
        return found
    return replace(found, origin=Origin("symmetric", network=row.name, licence=row.licence))


def _configured(found: Weights, config: dict[str, Any]) -> Weights:
    return replace(found, state=without_offset(found.state, config), origin=origin_of_config(config))


def _from_hub(repository: str) -> Weights:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError:
        raise WeightsError(f"Fetching {repository} needs huggingface_hub: pip install huggingface_hub.") from None
    try:
        file = hf_hub_download(repository, "model.safetensors")
        config = json.loads(Path(hf_hub_download(repository, "config.json")).read_text())
    except RepositoryNotFoundError:
        raise WeightsError(
            f"There is no repository '{repository}' on the Hugging Face Hub, or it is not public."
        ) from None
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise _offline(f"{repository} (model.safetensors and config.json)", error) from None
    except (EntryNotFoundError, HFValidationError) as error:
        raise WeightsError(f"{repository} has no weights of timm's kind: {str(error).splitlines()[0]}") from None
    except (HfHubHTTPError, OSError) as error:
        raise _offline(f"{repository} (model.safetensors and config.json)", error) from None
    return replace(_configured(read_weights(file), config), source=repository)


def without_offset(state: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The state without the background class that TensorFlow's networks have in front of the others."""
    cfg = config.get("pretrained_cfg", config)
    offset, classes = int(cfg.get("label_offset") or 0), int(cfg.get("num_classes") or 0)
    if not offset:
        return state
    return {key: v[offset:] if v.ndim <= 2 and v.shape[:1] == (classes + offset,) else v for key, v in state.items()}


def origin_of_config(config: dict[str, Any]) -> Origin:
    """What the `config.json` of a timm repository says: preprocessing, and TensorFlow's padding for `tf_` networks."""
    cfg = config.get("pretrained_cfg", config)
    if not isinstance(cfg, dict):
        return Origin()
    name = str(config.get("architecture", ""))
    ported = name.startswith("tf_")  # timm's word for networks with TensorFlow's padding
    eps = 1e-3 if ported else 1e-5 if name.startswith("efficientnet_") else None
    crop = int(cfg.get("input_size", (3, 224, 224))[-1])
    pixels = Preprocessing(
        crop,
        round(crop / float(cfg.get("crop_pct", 0.875))),
        tuple(cfg.get("mean", Preprocessing.mean)),
        tuple(cfg.get("std", Preprocessing.std)),
        str(cfg.get("interpolation", "bilinear")),
    )
    network = name if name in catalogue() else ""
    padding = "same" if ported else "symmetric" if network else None
    return Origin(padding, eps, pixels, str(cfg.get("license", "")), network=network)


def download(name: str, base: str = TORCHVISION, folder: Path | None = None) -> Path:
    """The file `name` from `base`, in the cache. A broken download is resumed; the whole file's sha256 is checked.

    The name holds the beginning of the digest, as torch has it. Raises `WeightsError`.
    """
    if not HASHED.fullmatch(name):
        raise WeightsError(f"'{name}' is no file name with the beginning of its sha256, such as resnet50-0676ba61.pth.")
    folder = folder or user_cache() / "weights"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from None
    file, part = folder / name, folder / f"{name}.part"
    with FileLock(folder / f"{name}.lock"):
        if not file.exists():
            _fetched(base + name, part)
            _check(name, part)
            part.replace(file)
        return _check(name, file)


def _fetched(url: str, part: Path) -> None:
    try:
        _fetch(url, part)
    except HTTPError as error:
        raise WeightsError(f"{url} cannot be had: the server says {error.code} {error.reason}.") from None
    except (URLError, OSError) as error:
        raise _offline(url, error) from None


def _fetch(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=30)
    except HTTPError as error:
        if error.code == 416:  # there is nothing behind what we have
            return
        raise
    due = int(answer.headers.get("Content-Length") or 0)
    with answer, part.open("ab" if answer.status == 206 else "wb") as file:
        start = file.tell()
        while chunk := answer.read(CHUNK):
            file.write(chunk)
        if file.tell() - start < due:
            raise ConnectionError("the connection broke off")


def _check(name: str, file: Path) -> Path:
    found = HASHED.fullmatch(name)
    digest = sha256_of(file)
    if found and not digest.startswith(found[1]):
        file.unlink()
        raise WeightsError(f"{name} is not what was published: its sha256 is {digest}. It was thrown away; try again.")
    return file


def _offline(what: str, error: Exception) -> OfflineError:
    return OfflineError(
        f"{what} could not be fetched; there seems to be no network ({type(error).__name__}). Fetch it on a machine "
        "that has one, and give the file's path."
    )
