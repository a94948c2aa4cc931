"""A network that learns without labels: all but its classifier, and a projection head behind it."""

from __future__ import annotations

from torch import Tensor, nn

from convista.transfer.trunk import last_layer

__all__ = ["Encoder", "Learner", "moco_head", "simclr_head"]


class Encoder(nn.Module):
    """A network up to what its classifier is given, which is taken out of it: (N, C, H, W) -> (N, `width`)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        last = last_layer(net)
        self.head = next(name for name, module in net.named_modules() if module is last)
        self.width = last.in_features if isinstance(last, nn.Linear) else last.in_channels
        parent, _, leaf = self.head.rpartition(".")
        setattr(net.get_submodule(parent), leaf, nn.Identity())
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Maps are averaged over their places."""
        values: Tensor = self.net(x)
        return values.mean((2, 3)) if values.ndim == 4 else values


class Learner(nn.Module):
    """(N, C, H, W) -> (N, D), what is compared."""

    def __init__(self, encoder: Encoder, projection: nn.Module):
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, x: Tensor) -> Tensor:
        """The projected features."""
        projected: Tensor = self.projection(self.encoder(x))
        return projected


def simclr_head(width: int, out: int) -> nn.Sequential:
    """Two layers (Chen et al. 2020, section 2.1), each behind a batch normalisation as in the authors' program."""
    return nn.Sequential(
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, out, bias=False), nn.BatchNorm1d(out),
    )  # fmt: skip


def moco_head(width: int, out: int) -> nn.Sequential:
    """Two layers without normalisation (Chen et al. 2020, MoCo v2, section 2)."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))
