"""The computed columns of the catalogue, from the networks themselves; `make tables` writes them into the file."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from convista.catalogue import TABLE, Published
from convista.files import write_atomically
from convista.models.cards import Card
from convista.pricing.count import count

__all__ = ["depth", "facts", "main", "skeleton"]

BY_HAND = ("top1", "top5", "dataset", "protocol", "source", "licence", "weights", "checked")
COLUMNS = [f.name for f in fields(Published)]


def skeleton(card: Card) -> nn.Module:
    """The network without memory for its weights."""
    spec = card.spec()
    with torch.device("meta"):
        return spec.table(spec.channels)


def depth(net: nn.Module) -> int:
    """Convolutions and fully connected layers, projections and those side by side included.

    >>> from convista.models import NETWORKS
    >>> depth(skeleton(NETWORKS["vgg16"])), depth(skeleton(NETWORKS["resnet18"]))
    (16, 21)
    """
    return sum(isinstance(m, nn.Conv2d | nn.Linear) or hasattr(m, "macs_per_position") for m in net.modules())


def facts(card: Card) -> dict[str, Any]:
    """What the network itself says: the columns of the catalogue that nobody writes by hand."""
    params, macs = count(card.spec())
    return {
        "name": card.name, "family": card.family, "year": card.paper.year, "image": card.image,
        "channels": card.channels, "params": params, "macs": macs, "depth": depth(skeleton(card)),
    }  # fmt: skip


def main() -> None:
    """Writes the catalogue's computed columns anew and keeps the others; a new network gets an empty row."""
    from convista.models import NETWORKS

    with TABLE.open(newline="", encoding="utf-8") as file:
        kept = {row["name"]: {key: row[key] for key in BY_HAND} for row in csv.DictReader(file)}
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(facts(card) | kept.get(card.name, {"checked": "no"}) for card in NETWORKS.values())
    write_atomically(TABLE, text.getvalue())
    print(f"{TABLE}: {len(NETWORKS)} networks")


if __name__ == "__main__":
    main()
