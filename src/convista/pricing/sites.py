"""Where a table's convolutions stand, and their numbers: what the formulas of what-if count with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from convista.blocks import Conv, Spec

__all__ = ["Kernel", "Site", "sites_of"]


@dataclass(frozen=True)
class Kernel:
    """One convolution by its numbers: channels in and out, kernel, groups, and at how many positions it is taken."""

    into: int
    out: int
    kernel: tuple[int, int]
    groups: int
    positions: int

    @property
    def weights(self) -> int:
        """Its parameters, biases left out."""
        return self.into // self.groups * self.out * self.kernel[0] * self.kernel[1]

    @property
    def macs(self) -> int:
        """Its multiply-accumulates."""
        return self.weights * self.positions


@dataclass(frozen=True)
class Site:
    """A convolution where it stands: its numbers, what comes with it, and whether it is the network's first, or the
    projection of a shortcut.
    """

    kernel: Kernel
    size_in: tuple[int, ...]
    keeps_size: bool
    norm: str  # "", "behind" or "before"
    bias: bool
    stem: bool
    shortcut: bool

    @property
    def as_block(self) -> Conv:
        """A row with this kernel, for those who choose rows."""
        return Conv(self.kernel.out, self.kernel.kernel, groups=self.kernel.groups)

    def behind(self, side: int, times: int = 1) -> int:
        """Positions behind so many convolutions of this side in its place; without padding each takes some away."""
        if self.keeps_size:
            return self.kernel.positions
        return math.prod(n - times * (side - 1) for n in self.size_in)

    def params(self, kernel: Kernel) -> int:
        """Parameters of a convolution in this place: weights, biases, scale and shift of the normalisation."""
        normalised = {"": 0, "behind": kernel.out, "before": kernel.into}[self.norm]
        return kernel.weights + kernel.out * self.bias + 2 * normalised


def sites_of(spec: Spec) -> list[Site]:
    """The convolutions that are rows of the table, which an activation or normalisation may go with."""
    net = spec.layers[-1].module
    found = []
    convs = [layer for layer in spec.layers if isinstance(layer.module, nn.Conv2d) and layer.name.endswith(".conv")]
    for i, layer in enumerate(convs):
        conv: Any = layer.module
        leaves = [name for name, _ in net.get_submodule(layer.name.rpartition(".")[0]).named_children()]
        norm = "" if "norm" not in leaves else "behind" if leaves.index("conv") < leaves.index("norm") else "before"
        positions = math.prod(layer.shape_out[1:])
        kernel = Kernel(conv.in_channels, conv.out_channels, conv.kernel_size, conv.groups, positions)
        shortcut = layer.name.endswith("shortcut.conv")
        keeps = conv.padding != (0, 0) or conv.stride != (1, 1)
        found.append(Site(kernel, layer.shape_in[1:], keeps, norm, conv.bias is not None, i == 0, shortcut))
    return found
