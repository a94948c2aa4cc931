"""How far sets of pictures lie from a network's pretraining, as they are and changed: what `near` and `far` stand for.

python benchmarks/shift_distance.py mobilenet_v2 WEIGHTS photos/ cells/ digits [--most 64] [--change FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from convista.data import Pictures, open_source
from convista.transfer import pretrained, shift
from convista.transfer.table import usable

CHANGES: dict[str, Callable[[Any], Any]] = {
    "half as bright": lambda pixels: pixels * 0.5,
    "a fifth as bright": lambda pixels: pixels * 0.2,
    "fog": lambda pixels: pixels * 0.3 + 150,
    "inverted": lambda pixels: 255 - pixels,
    "grey": lambda pixels: np.repeat(pixels.mean(-1, keepdims=True), 3, -1),
    "noise": lambda pixels: np.random.default_rng(0).uniform(0, 255, pixels.shape),
}


def changed(pictures: Pictures, change: Callable[[Any], Any]) -> Pictures:
    """The same pictures with other bytes."""
    pixels = np.stack([pictures[i] for i in range(len(pictures))]).astype(np.float32)
    return replace(pictures, cached=change(pixels).clip(0, 255).astype(np.uint8), rows=np.arange(len(pictures)))


def some(pictures: Pictures, most: int) -> Pictures:
    """At most so many, evenly picked."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(np.int64))
    own = tuple(pictures.pictures[i] for i in chosen)
    return replace(pictures, pictures=own, targets=pictures.targets[chosen], rows=pictures.rows[chosen])


def main() -> None:
    """Prints a line for each set."""
    parser = argparse.ArgumentParser()
    for word in ("model", "weights"):
        parser.add_argument(word)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--most", type=int, default=256)
    parser.add_argument("--change")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    base = pretrained(asked.model, asked.weights)

    def tell(name: str, pictures: Pictures) -> None:
        found = shift(base, pictures, asked.most)
        stages = " ".join(f"{far:.2f}" for _, far in found.stages)
        print(f"{name:<24} {found.pictures:>4}  {found.distance or 0:.3f}  {found.word:<6} {stages}", flush=True)

    for data in asked.data:
        tell(data.rstrip("/").rsplit("/", 1)[-1], usable(open_source(data), base.view)[0])
    if asked.change:
        pictures = some(usable(open_source(asked.change), base.view)[0], asked.most)
        for name, change in CHANGES.items():
            tell(name, changed(pictures, change))


if __name__ == "__main__":
    main()
