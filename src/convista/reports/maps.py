"""A map of feature vectors with their pictures, as a page that opens offline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convista.errors import InputError
from convista.files import shown
from convista.reports.page import template
from convista.reports.sprites import Gallery, sprite

__all__ = ["map_page"]

MOST = 2000  # pictures with thumbnails on a page; the others are points
FEW, LARGE, SMALL = 500, 112, 64  # up to so many pictures thumbnails are large; their sides in pixels
COLOURS, SHAPES = 6, 6  # each class has its own pair, as far as they go
UNKNOWN = "class unknown"


def map_page(title: str, points: NDArray[np.float64], gallery: Gallery, note: str = "", findings: Any = None) -> str:
    """The page as HTML text, with every picture, style and script inside.

    `points` (n, 2) are the places of the gallery's n pictures, x to the right and y upwards, in one unit. Of more than
    2,000 pictures so many, evenly spaced in their order, are shown as pictures, the others as points. `note` says how
    the map was made, `findings` what else is known of the pictures (see `overview_page`). Raises `InputError` where the
    points are none or do not fit the gallery.
    """
    if points.shape != (len(gallery), 2) or not len(gallery) or not np.isfinite(points).all():
        raise InputError(
            f"The points have the shape {points.shape}, for {len(gallery):,} pictures. Expected ({len(gallery)}, 2) "
            "finite numbers, and one picture at least."
        )
    n = len(gallery)
    seen = np.unique(np.linspace(0, n - 1, min(n, MOST)).round().astype(np.int64))
    sheet = sprite([gallery.thumbnails[i] for i in seen], LARGE if len(seen) <= FEW else SMALL)
    labels = [UNKNOWN if label is None else shown(label) for label in gallery.labels]
    classes = sorted(set(labels), key=lambda label: (label == UNKNOWN, label))
    number = {label: i for i, label in enumerate(classes)}
    tiles = np.full(n, -1)
    tiles[seen] = np.arange(len(seen))
    x, y = _placed(points).T
    data: dict[str, Any] = {
        "x": x.round(5).tolist(),
        "y": y.round(5).tolist(),
        "tile": tiles.tolist(),
        "label": [number[label] for label in labels],
        "names": [gallery.name(i) for i in range(n)],
        "classes": classes,
        "marks": [_mark(i) for i in range(len(classes))],
        "side": sheet.side,
        "columns": sheet.columns,
    }
    words = {"title": title, "note": note, "findings": findings}
    return template("map.html").render(data=data, sheet=sheet, n=n, pictured=len(seen), **words)


def _placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points within -0.5..0.5, their proportions kept."""
    low, high = points.min(0), points.max(0)
    middle = low / 2 + high / 2
    return np.asarray((points - middle) / (float((high - low).max()) or 1.0))


def _mark(i: int) -> tuple[int, int]:
    """The colour and shape of a class: neighbours differ in both, and 36 in one of them."""
    return i % COLOURS, (i + i // COLOURS) % SHAPES
