"""What self-supervision makes small: how hard it is to tell a picture's other view from other pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

__all__ = ["info_nce", "nt_xent"]


def nt_xent(
    own: Tensor, temperature: float, everyone: Tensor | None = None, places: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """NT-Xent (Chen et al. 2020, SimCLR, equation 1): the losses of each row in nats, and whether it was right.

    Rows (2 n, D) of any length but zero: n first views, then their n second views. Of several processes each has its
    `own` rows at `places` (m,) among `everyone`'s (2 n, D), whom they are compared with. Losses (m,), right (m,).

    >>> losses, right = nt_xent(torch.eye(2).repeat(2, 1), temperature=0.5)
    >>> losses.round(decimals=3), right.all()
    (tensor([0.2400, 0.2400, 0.2400, 0.2400]), tensor(True))
    """
    everyone = own if everyone is None else everyone
    places = torch.arange(len(own), device=own.device) if places is None else places
    similarity = _unit(own) @ _unit(everyone).T / temperature
    itself = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, places[:, None], True)
    logits = similarity.masked_fill(itself, -torch.inf)
    partners = (places + len(everyone) // 2) % len(everyone)
    return cross_entropy(logits, partners, reduction="none"), logits.argmax(1) == partners


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE (He et al. 2019, MoCo, equation 1): the losses of each query in nats, and whether it was right.

    Queries and their keys (n, D) of any length but zero; `queue` (K, D) of unit vectors are the keys of others. Losses
    (n,), right (n,).

    >>> losses, right = info_nce(torch.eye(2), torch.eye(2), torch.tensor([[0.0, -1.0]]), temperature=0.2)
    >>> losses.round(decimals=4), right.all()
    (tensor([0.0067, 0.0000]), tensor(True))
    """
    queries, keys = _unit(queries), _unit(keys)
    own = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([own, queries @ queue.to(queries.dtype).T], 1) / temperature
    first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return cross_entropy(logits, first, reduction="none"), logits.argmax(1) == first


def _unit(rows: Tensor) -> Tensor:
    return normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))
