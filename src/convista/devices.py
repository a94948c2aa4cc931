"""Where tensors live and work is done."""

from __future__ import annotations

import os

import torch

from convista.errors import RunError

__all__ = ["pick_device"]


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes a GPU where there is one. Raises `RunError` when the device asked for is not there."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there.get(name, False):
        known = ", ".join(key for key, is_there in there.items() if is_there)
        raise RunError(f"The device '{name}' is not on this machine; there is: auto, {known}.")
    return torch.device(name, int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)
