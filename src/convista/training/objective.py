"""What training makes small: the cross-entropy of a batch, smoothed, focused, weighted by class, of mixed pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from convista.data import Batch

__all__ = ["Objective", "balancing_weights"]


SURE = 1e-7  # of what is surely right: the power of 0 has no slope where gamma is below 1


@dataclass(frozen=True)
class Objective:
    """The loss in nats. `focal` is gamma of the focal loss (Lin et al. 2017), `weights` are the classes', on average 1.

    A mixed picture's loss is that of both classes, each by its share (Zhang et al. 2017, section 2).
    """

    smoothing: float = 0.0
    focal: float = 0.0
    weights: Tensor | None = None

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """The sum over the batch of logits (n, classes)."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        losses = self._of(logits, batch.targets)
        if batch.partners is not None and batch.shares is not None:
            losses = torch.lerp(self._of(logits, batch.partners), losses, batch.shares.to(losses))
        return losses.sum()

    def _of(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = cross_entropy(logits, targets, reduction="none", label_smoothing=self.smoothing)
        if self.focal:
            own = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
            losses = losses * (-torch.expm1(own)).clamp(min=SURE) ** self.focal
        return losses if self.weights is None else losses * self.weights[targets]


def balancing_weights(targets: NDArray[np.int64], classes: int) -> Tensor:
    """(classes,): in inverse proportion to how often each comes, on average 1 over the pictures; 0 if it never does."""
    counts = np.bincount(targets, minlength=classes)
    present = np.count_nonzero(counts)
    return torch.from_numpy(np.where(counts, len(targets) / (present * np.maximum(counts, 1)), 0)).float()
