"""Training pictures as the network will see them: each from its own plan, alone or mixed with another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convista.data.chance import draws
from convista.data.geometry import crop
from convista.data.mixing import Mixing, join, pairs
from convista.data.pictures import Pictures
from convista.data.plan import FIRST, crop_place, plans
from convista.data.policy import Policy
from convista.data.resident import Resident
from convista.records import View

__all__ = ["Augmentation", "Batch"]


@dataclass(frozen=True)
class Batch:
    """Pictures (n, C, H, W) as bytes and their classes (n,); with mixing the partners' classes and own shares too."""

    pictures: Tensor
    targets: Tensor
    partners: Tensor | None = None
    shares: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        if device.type == "cuda":
            return replace(self, **{k: _pinned(v).to(device, non_blocking=True) for k, v in self._tensors().items()})
        return replace(self, **{name: value.to(device) for name, value in self._tensors().items()})

    def hold(self, stream: torch.cuda.Stream) -> None:
        """Keeps the memory until `stream`, another than it was made on, has done with it."""
        for value in self._tensors().values():
            value.record_stream(stream)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if value is not None}


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are changed: the same for the same (seed, epoch, index), wherever and whenever.

    With `resident` pictures all that happens on their device, in batches; without, one by one, on the processor.

    An index beyond the last picture means one that comes again in the epoch: picture `index % len(pictures)`, changed
    in another way.
    """

    policy: Policy
    view: View
    seed: int = 0
    mixing: Mixing = field(default_factory=Mixing)
    resident: Resident | None = None

    def __call__(self, pictures: Pictures, indices: NDArray[np.int64], epoch: int) -> Batch:
        """The named pictures as the network sees them in this epoch."""
        own, targets = self._looks(pictures, indices, epoch), self._targets(pictures, indices)
        if not self.mixing:
            return Batch(own, targets)
        joined = pairs(self.mixing, pictures.targets, self.view.image, self.seed, epoch, indices)
        partners = np.array([pair.partner for pair in joined], np.int64)
        mixed = join(own, self._looks(pictures, partners, epoch), joined)
        shares = torch.tensor([pair.share for pair in joined], dtype=torch.float32)
        return Batch(mixed, targets, self._targets(pictures, partners), shares)

    def _targets(self, pictures: Pictures, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(pictures.targets[indices % len(pictures)])

    def _looks(self, pictures: Pictures, indices: NDArray[np.int64], epoch: int) -> Tensor:
        if self.resident is not None:
            return self.resident(indices % len(pictures), plans(self.policy, self.view, self.seed, epoch, indices))
        return torch.from_numpy(self._stack(pictures, indices, epoch)).permute(0, 3, 1, 2)

    def _stack(self, pictures: Pictures, indices: NDArray[np.int64], epoch: int) -> NDArray[np.uint8]:
        view = self.view
        stack = np.empty((len(indices), view.image, view.image, view.channels), np.uint8)
        stored = pictures.many(indices % len(pictures))
        if self._simple:
            return self._windows(stack, stored, indices, epoch)
        for row, picture, plan in zip(stack, stored, plans(self.policy, view, self.seed, epoch, indices), strict=True):
            row[...] = plan.image(picture)
        return stack

    @property
    def _simple(self) -> bool:
        """Whether there is nothing but windows and mirrors, which need no plan."""
        return not self.policy.without("crop", "flip").acts

    def _windows(
        self, stack: NDArray[np.uint8], stored: list[NDArray[np.uint8]], indices: NDArray[np.int64], epoch: int
    ) -> NDArray[np.uint8]:
        numbers, view = draws(self.seed, epoch, indices, FIRST), self.view
        moving, slack = self.policy.has("crop"), (view.stored - view.image) // 2
        tops, lefts = (crop_place(view, numbers[:, i]) if moving else np.full(len(indices), slack) for i in (0, 1))
        for i, picture in enumerate(stored):
            stack[i] = crop(picture, tops[i], lefts[i], view.image)
        chance = next((act.chance for act in self.policy.acts if act.word == "flip"), 0.0)
        batch = torch.from_numpy(stack)
        for i in np.flatnonzero(numbers[:, 2] < chance).tolist():  # one by one: ten times as fast as a mask
            batch[i] = batch[i].flip(1)
        return stack
