"""Batches of tensors: bytes in channels_last order, in a fixed order of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convista.data.chance import permutation
from convista.data.pictures import Pictures
from convista.records import View

__all__ = ["Normalise", "centre", "eval_batches", "eval_view", "global_batches", "steps_in_epoch"]


def steps_in_epoch(count: int, batch: int) -> int:
    """How many batches of `batch` cover `count` pictures, nearly equal and none with one picture alone.

    >>> steps_in_epoch(103, 16), steps_in_epoch(3, 2)
    (7, 1)
    """
    return max(1, min(-(-count // batch), count // 2))


def global_batches(
    count: int, batch: int, seed: int, epoch: int, balanced: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """An epoch's order cut into batches of nearly equal size; every picture comes once.

    With `balanced`, the pictures' classes, every class comes equally often: pictures of rare classes several times, as
    index + count, index + 2 * count, …, and of frequent ones only a part, another one in each epoch.
    """
    order = permutation(seed, epoch, count)
    if balanced is not None:
        order = _equally_often(order, balanced)[permutation(seed, ~epoch & 0xFFFFFFFF, count)]
    return np.array_split(order, steps_in_epoch(count, batch))


def _equally_often(order: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    members = [order[classes[order] == number] for number in np.unique(classes)]
    shares = np.array_split(np.arange(len(order)), len(members))
    rounds = [np.arange(len(share)) for share in shares]
    chosen = [own[r % len(own)] + len(order) * (r // len(own)) for own, r in zip(members, rounds, strict=True)]
    return np.concatenate(chosen)


def centre(picture: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """A stored picture -> its middle (image, image, C)."""
    start = (view.stored - view.image) // 2
    return picture[start : start + view.image, start : start + view.image]


def eval_view(pictures: Pictures, indices: NDArray[np.int64], view: View) -> tuple[Tensor, Tensor]:
    """The centres of the named pictures: bytes (n, C, image, image), and classes (n,)."""
    stack = np.stack([centre(picture, view) for picture in pictures.many(indices)])
    return torch.from_numpy(stack).permute(0, 3, 1, 2), torch.from_numpy(pictures.targets[indices])


def eval_batches(
    pictures: Pictures, view: View, batch: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Every picture of this process's share once: its indices, bytes and classes."""
    mine = np.arange(rank, len(pictures), world)
    for start in range(0, len(mine), batch):
        indices = mine[start : start + batch]
        yield indices, *eval_view(pictures, indices, view)


@dataclass(frozen=True)
class Normalise:
    """Bytes (N, C, H, W) -> floats with the training pictures' mean 0 and standard deviation 1 per channel."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, view: View, device: torch.device) -> Normalise:
        """From the mean and standard deviation in `view` (units of 0..1)."""
        mean = torch.tensor(view.mean, device=device).view(1, -1, 1, 1) * 255
        scale = 1 / (torch.tensor(view.std, device=device).view(1, -1, 1, 1) * 255)
        return cls(mean, scale)

    def __call__(self, batch: Tensor) -> Tensor:
        """(N, C, H, W) bytes -> the same shape in float32, channels_last."""
        return batch.to(torch.float32, memory_format=torch.channels_last).sub_(self.mean).mul_(self.scale)


def channel_statistics(pictures: Pictures, most: int = 2000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in units of 0..1, over at most `most` pictures evenly picked."""
    indices = np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(np.int64)
    sums = np.zeros((2, pictures.shape[2]))
    for i in indices:
        values = pictures[int(i)].reshape(-1, pictures.shape[2]).astype(np.float64) / 255
        sums += values.mean(0), np.square(values).mean(0)
    mean, square = sums / len(indices)
    std = np.sqrt(np.maximum(square - mean**2, 1e-4))
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
