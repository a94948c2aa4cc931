"""The filters of the first convolution, as pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

__all__ = ["first_filters"]


def first_filters(net: nn.Module) -> NDArray[np.uint8]:
    """The kernels of the first convolution as colours: (filters, height, width, 1 or 3) bytes, grey where zero.

    Each filter is scaled by its own largest weight. Of a convolution on more than three channels, the first three.
    """
    weight = next(m.weight for m in net.modules() if isinstance(m, nn.Conv2d)).detach().cpu().float().numpy()
    weight = weight[:, : 3 if weight.shape[1] >= 3 else 1]
    largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    grey = 127.5 + 127.5 * weight / np.maximum(largest, 1e-12)
    return np.asarray(grey.round().transpose(0, 2, 3, 1), dtype=np.uint8)
