"""The report of what was learned without labels: one HTML page that opens offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convista.records import Cost, Epoch
from convista.reports.figures import curves, filter_sheet
from convista.reports.page import template

__all__ = ["pretraining_page"]


def pretraining_page(info: dict[str, Any], history: list[Epoch], cost: Cost, filters: NDArray[np.uint8]) -> str:
    """The page as HTML text: the loss, and where labels judged, the neighbours' vote beside its floors."""
    floors = info.get("floors")
    lines: dict[str, Sequence[float]] = {"kNN": [row.val_top1 for row in history]}
    if floors:
        lines |= {f"{name} (floor)": [floors[key]["val"]] * max(2, len(history)) for key, name in NAMES.items()}
    return template("pretraining.html").render(
        info=info,
        recipe=info["pretrain"],
        cost=cost,
        floors=floors,
        last=history[-1],
        loss=curves({"train": [row.train_loss for row in history]}, "loss"),
        near=curves({"train": [row.train_top1 for row in history]}, "other view nearest"),
        knn=curves(lines, "top-1", kinds=KINDS) if floors else None,
        speed=sum(row.pictures_per_second for row in history) / max(1, len(history)),
        filters=filter_sheet(filters),
        filter_shape=filters.shape,
        reasons=Counter(file["reason"] for file in info["bad_files"]).most_common(),
    )


NAMES = {"random": "before learning", "pixels": "pixels"}
KINDS = {"kNN": "val", "before learning (floor)": "random", "pixels (floor)": "pixels"}
