"""The most confident wrong answers, for the report."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convista.data import (
    Pictures,
)
from convista.tasks.run import Run
from convista.training import (
    softmax,
)

__all__ = ["mistakes"]

MOST = 24  # pictures kept
THUMBNAIL = 112  # pixels a side


def mistakes(logits: NDArray[np.float64], pictures: Pictures, run: Run) -> list[dict[str, Any]]:
    """The most confident wrong answers, with thumbnails."""
    probabilities = softmax(logits)
    said, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(said != pictures.targets)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]
    return [
        {
            "path": pictures.pictures[i].path,
            "label": run.labels[pictures.targets[i]],
            "said": run.labels[said[i]],
            "probability": float(confidence[i]),
            "thumbnail": _thumbnail(pictures[int(i)]),
        }
        for i in worst
    ]


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels.squeeze())
    if image.width < THUMBNAIL:
        scale = -(-THUMBNAIL // image.width)
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
