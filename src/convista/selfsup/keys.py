"""MoCo's dictionary: a second encoder that follows the first slowly, and a queue of its answers to earlier pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from convista.training import Average
from convista.training.average import approach

__all__ = ["Keys"]


class Keys(Average):
    """The momentum encoder `net` and the `queue` (K, D) of its last K keys (He et al. 2019, section 3.2).

    It begins with unit vectors drawn from `seed`; new keys take the place of the oldest, for any size of batch up to K.

    Departure: batch normalisation of the second encoder uses statistics that follow the first one's (Cai et al. 2021,
    EMAN), so that no key tells of its batch, which the paper shuffles between GPUs for; this way any number of
    processes computes the same. At first they follow fast, as in every `Average`, for they begin as blanks. Weights
    never do: of an encoder that changes fast, old keys are told from new ones by their age.
    """

    def __init__(self, net: nn.Module, momentum: float, size: int, width: int, seed: int):
        super().__init__(net, momentum)
        self.net.eval()
        drawn = torch.randn(size, width, generator=torch.Generator().manual_seed(seed))
        weight = next(net.parameters())
        self.queue = normalize(drawn).to(weight)
        self.place = torch.zeros((), dtype=torch.int64, device=weight.device)  # of the oldest key
        self.coming: Tensor | None = None

    @torch.no_grad()
    def of(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> keys (N, D)."""
        keys: Tensor = self.net(x)
        return keys

    def follow(self, net: nn.Module, step: int) -> None:
        """Moves towards `net` (equation 2); keys that are `coming` are now in the queue."""
        approach(self.net.parameters(), net.parameters(), 1 - self.decay)
        approach(self.net.buffers(), net.buffers(), self.share(step))
        if self.coming is not None:
            self.enqueue(self.coming)
            self.coming = None

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Puts keys (n, D), n at most K, in place of the oldest; they are made unit vectors."""
        size = len(self.queue)
        places = (self.place + torch.arange(len(keys), device=keys.device)) % size
        self.queue[places] = normalize(keys.to(self.queue.dtype))
        self.place.copy_((self.place + len(keys)) % size)

    @property
    def tensors(self) -> list[Tensor]:
        """Weights, buffers and the queue."""
        return [*super().tensors, self.queue, self.place]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"net": super().state(), "queue": self.queue, "place": self.place}

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a checkpoint's."""
        super().load(state["net"])
        self.queue.copy_(state["queue"])
        self.place.copy_(state["place"])
