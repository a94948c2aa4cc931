"""The join by addition: residual blocks, their shortcuts, and stochastic depth."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks.base import Block, DoesNotFitError, Reach, Size
from convista.blocks.joins import Chain
from convista.blocks.running import Sequence
from convista.blocks.words import Act, Conv, Norm, activation
from convista.errors import InputError

__all__ = ["Add", "DropPath", "Residual", "SubsampleAndPad"]


class Add(nn.Module):
    """The sum of two maps, as a module of its own so that it has a name and can be looked at."""

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Two maps (N, C, H, W) -> (N, C, H, W)."""
        return x + shortcut


class ScaledAdd(Add):
    """The sum of `scale` times a map and another (Szegedy et al. 2016, section 3.3)."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """Two maps (N, C, H, W) -> (N, C, H, W)."""
        return x * self.scale + shortcut


class DropPath(nn.Module):
    """Zeroes a picture's whole map with `probability` while training, scaling the rest (Huang et al. 2016b)."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not self.training:
            return x
        keep = 1 - self.probability
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """The probability, for the printed module."""
        return f"{self.probability:g}"


class SubsampleAndPad(nn.Module):
    """Option A of He et al. 2015, section 3.3: every `stride`-th position, the new channels zero on both sides.

    (N, C, H, W) -> (N, C + before + after, H / stride, W / stride), without a parameter.
    """

    def __init__(self, stride: int, extra: int):
        super().__init__()
        self.stride, self.before, self.after = stride, extra // 2, extra - extra // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + before + after, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class ResidualSum(nn.Module):
    """What `Residual` builds: `pre` where there is one, the body's children, `shortcut`, `add`, `act`.

    A projection sees what the body sees, behind `pre`; the identity sees what came in (He et al. 2016, figure 4e).
    """

    def __init__(self, pre: nn.Module | None, body: nn.Module, shortcut: nn.Module, add: nn.Module):
        super().__init__()
        self.pre = pre
        self.path = tuple(name for name, _ in body.named_children())
        for name, child in body.named_children():
            self.add_module(name, child)
        self.shortcut, self.add = shortcut, add
        self.drop: nn.Module | None = None
        self.act: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        y = before = x if self.pre is None else self.pre(x)
        for name in self.path:
            y = self._modules[name](y)  # type: ignore[misc]
        if self.drop is not None:
            y = self.drop(y)
        y = self.add(y, self.shortcut(x if isinstance(self.shortcut, nn.Identity) else before))
        return y if self.act is None else self.act(y)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Residual(Block):
    """`act(body(x) + shortcut(x))` (He et al. 2015, equations 1 and 2). (N, C, H, W) -> (N, C', H', W').

    The shortcut is the identity where the shapes allow it. Where they do not, `shortcut` decides: `"project"` is a
    1x1 convolution (option B) with `norm`, `"pad"` subsamples and pads with zeros (option A), `"none"` leaves the
    body and no sum; `"always project"` never takes the identity. `pre` is a pre-activation in front of the body.
    `scale` multiplies the body's result, `drop_path` is the probability of dropping it while training.
    """

    composite: ClassVar[bool] = True
    body: Chain
    shortcut: str = "project"
    act: str | None = "relu"
    pre: Chain | None = None
    norm: Norm | None = Norm()  # noqa: RUF009  # frozen
    scale: float = 1.0
    drop_path: float = 0.0

    def __call__(self, width: int) -> nn.Module:
        taken = {"shortcut", "add", "act", "drop", "path", "pre"} & {name for name, _ in self.body.rows}
        if taken:
            raise InputError(f"A residual body cannot have a row named '{min(taken)}': that name is the join's own.")
        pre = self.pre(width) if self.pre else None
        body, act = self.body(width), activation(self.act, inplace=True) if self.act else None
        if self.sums(width):
            add = Add() if self.scale == 1 else ScaledAdd(self.scale)
            block = ResidualSum(pre, body, self._shortcut(width), add)
            block.drop = DropPath(self.drop_path) if self.drop_path else None
            block.act = act
            return block
        rows = OrderedDict({"pre": pre} | dict(body.named_children()) | {"act": act})
        return Sequence(OrderedDict((name, row) for name, row in rows.items() if row is not None))

    def sums(self, width: int) -> bool:
        """Whether there is a shortcut behind `width` input channels."""
        return self.shortcut != "none" or self._identity(width)

    def _identity(self, width: int) -> bool:
        return self.shortcut != "always project" and self.out(width) == width and self.reduction() == 1

    def _shortcut(self, width: int) -> nn.Module:
        out, stride = self.out(width), self.reduction()
        if self._identity(width):
            return nn.Identity()
        if self.shortcut in ("project", "always project"):
            return Conv(out, 1, stride, norm=self.norm, act=None, bias=False)(width)
        if self.shortcut == "pad" and out >= width:
            return SubsampleAndPad(stride, out - width)
        raise InputError(f"A shortcut '{self.shortcut}' cannot lead from {width} to {out} channels; use 'project'.")

    def out(self, width: int) -> int:
        return self.body.out(width)

    def reduction(self) -> int:
        return self.body.reduction()

    def size(self, size: Size) -> Size:
        stride, made = self.reduction(), self.body.size(size)
        if self.shortcut != "none" and made != (-(-size[0] // stride), -(-size[1] // stride)):
            raise DoesNotFitError(f"the body makes {made[0]}x{made[1]} of {size[0]}x{size[1]}, the shortcut does not")
        return made

    def dilated(self, reach: Reach) -> tuple[Block, Reach]:
        body, behind = self.body.dilated(reach)
        block = replace(self, body=body)  # type: ignore[arg-type]
        if body.reduction() == self.reduction():
            return block, behind
        if self.shortcut == "none":  # there was no sum, and there shall be none now that the shapes would allow it
            return Chain(**dict(body.rows), act=Act(self.act) if self.act else None), behind  # type: ignore[attr-defined]
        return replace(block, shortcut="always project" if self.shortcut == "project" else self.shortcut), behind

    def overwritable(self) -> bool:
        return not self.act

    def text(self) -> str:
        return f"[{self.body.text()}]"
