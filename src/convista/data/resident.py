"""Pictures that stay on the device: cut, warped and coloured there in batches, each by its own plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convista.data import geometry as g
from convista.data.pictures import Pictures
from convista.data.plan import Plan
from convista.data.values import Step

__all__ = ["Resident", "do"]

Key = TypeVar("Key")
PART = 0.5  # of the memory that is free on the device
CHUNK = 4096  # pictures copied at once


@dataclass(frozen=True)
class Resident:
    """All pictures of a split as bytes (n, S, S, C), on one device."""

    pixels: Tensor

    @classmethod
    def of(cls, pictures: Pictures, device: torch.device, room: int | None = None) -> Resident | None:
        """Copies them there; None where they are not all cached or would fill more than half of the free memory.

        `room` is that memory in bytes, asked of the device if not given.
        """
        room = _free(device) if room is None else room
        if (pictures.rows < 0).any() or len(pictures) * math.prod(pictures.shape) > PART * room:
            return None
        pixels = torch.empty((len(pictures), *pictures.shape), dtype=torch.uint8, device=device)
        for start in range(0, len(pictures), CHUNK):
            part = np.stack([pictures[i] for i in range(start, min(start + CHUNK, len(pictures)))])
            pixels[start : start + len(part)] = torch.from_numpy(part).to(device)
        return cls(pixels)

    def __call__(self, indices: NDArray[np.int64], plans: list[Plan]) -> Tensor:
        """The named pictures, each done as planned: bytes (n, C, side, side)."""
        return do(self.pixels[torch.from_numpy(indices).to(self.pixels.device)], plans)


def _free(device: torch.device) -> int:
    """Bytes free on a GPU, those included that torch keeps for later."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + kept)


def do(stored: Tensor, plans: list[Plan]) -> Tensor:
    """Stored pictures (n, S, S, C) as bytes -> (n, C, side, side), equal to `plan.image` of each to a grey level."""
    stored = stored.permute(0, 3, 1, 2)
    side = plans[0].side
    result = torch.empty((len(plans), stored.shape[1], side, side), dtype=torch.float32, device=stored.device)
    for place, chosen in _grouped([_placing(plan) for plan in plans]).items():
        own = [plans[i] for i in chosen]
        result[chosen] = _rounded(PLACINGS[place](stored[chosen], own).float())
    for turn in range(max(len(plan.steps) for plan in plans)):
        for kind, chosen in _grouped([_kind(plan, turn) for plan in plans]).items():
            if kind is not None:
                steps: list[Step] = [plans[i].steps[turn] for i in chosen]
                result[chosen] = _rounded(steps[0].batch(result[chosen], steps))  # type: ignore[arg-type]
    return result.to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _rounded(values: Tensor) -> Tensor:
    """To whole levels within 0..255, as bytes are between two steps on a processor."""
    return values.add(0.5).clamp_(0, 255).floor_()


def _grouped(keys: Sequence[Key]) -> dict[Key, list[int]]:
    groups: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return groups


def _kind(plan: Plan, turn: int) -> type | None:
    return type(plan.steps[turn]) if turn < len(plan.steps) else None


def _placing(plan: Plan) -> str:
    if plan.warp is not None:
        return "coarse" if g.coarseness(plan.matrix, plan.side) > g.COARSE else "warp"
    return "cut" if plan.window[2:] == (plan.side, plan.side) else "resize"


def _cut(stored: Tensor, plans: list[Plan]) -> Tensor:
    """Windows of the result's own side, mirrored beyond the edges."""
    side = plans[0].side
    corners = torch.tensor([plan.window[:2] for plan in plans], device=stored.device)
    steps = torch.arange(side, device=stored.device)
    rows = _inside(corners[:, 1:] + steps, stored.shape[2])
    columns = _inside(corners[:, :1] + steps, stored.shape[3])
    mirrored = torch.tensor([plan.mirrored for plan in plans], device=stored.device)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    first = torch.arange(len(plans), device=stored.device)[:, None, None]
    return stored.permute(0, 2, 3, 1)[first, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _inside(places: Tensor, size: int) -> Tensor:
    places = places.abs()
    return torch.where(places >= size, 2 * (size - 1) - places, places)


def _resize(stored: Tensor, plans: list[Plan]) -> Tensor:
    """Windows of any size, each axis by a matrix of shares; every source pixel has its own."""
    side = plans[0].side
    windows = torch.tensor([plan.window for plan in plans], device=stored.device, dtype=torch.float32)
    across = _shares(windows[:, 0], windows[:, 2], side, stored.shape[3])
    down = _shares(windows[:, 1], windows[:, 3], side, stored.shape[2])
    mirrored = torch.tensor([plan.mirrored for plan in plans], device=stored.device)
    across = torch.where(mirrored[:, None, None], across.flip(1), across)
    return down[:, None] @ stored.float() @ across[:, None].transpose(2, 3)


def _shares(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """(n,) window starts and lengths -> (n, side, size): the triangle filter's weights, rows summing to 1."""
    scale = (length / side)[:, None, None]
    steps = torch.arange(side, device=start.device)[None, :, None] + 0.5
    pixels = torch.arange(size, device=start.device)[None, None, :] + 0.5
    weights = (1 - (pixels - start[:, None, None] - steps * scale).abs() / scale.clamp(min=1)).clamp(min=0)
    within = (pixels > start[:, None, None]) & (pixels < (start + length)[:, None, None])
    weights = weights * within
    return weights / weights.sum(2, keepdim=True)


def _coarse(stored: Tensor, plans: list[Plan]) -> Tensor:
    """Moves that would skip pixels, one by one on the processor."""
    rows = stored.permute(0, 2, 3, 1).cpu().numpy()
    done = np.stack([plan.placed(row) for plan, row in zip(plans, rows, strict=True)])
    return torch.from_numpy(done).permute(0, 3, 1, 2).to(stored.device)


def _warp(stored: Tensor, plans: list[Plan]) -> Tensor:
    """Any other move."""
    side = plans[0].side
    matrices = torch.from_numpy(np.stack([plan.matrix for plan in plans])).to(stored.device, torch.float32)
    return g.warp(stored.float(), matrices, side)


PLACINGS = {"coarse": _coarse, "cut": _cut, "resize": _resize, "warp": _warp}
