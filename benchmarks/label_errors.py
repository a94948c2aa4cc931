"""How many wrong labels, planted into one's own pictures, are found; and how many right ones are doubted.

    convista features mobilenet_v2 photos/ --out photos.npz
    python benchmarks/label_errors.py photos.npz [--share 0.05] [--seeds 3]

Each planted label is another class, drawn at random. "Below 0.05" is what `convista map` lists; "first" are as many as
were planted, of those of `suspects` and, beside it, of a vote of the ten nearest. The floor of "first" is the share.
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convista.transfer import disagreeing, suspects
from convista.transfer.overview import IMPROBABLE


def found(planted: Collection[int], rows: list[int]) -> int:
    return len(set(planted) & set(rows))


def measured(features: NDArray[np.float32], targets: NDArray[Any], classes: int, share: float, seed: int) -> str:
    random, n = np.random.default_rng(seed), len(targets)
    planted = random.choice(n, round(n * share), replace=False)
    wrong = targets.copy()
    wrong[planted] = (targets[planted] + random.integers(1, classes, len(planted))) % classes
    doubted = suspects(features, wrong, classes, n, seed=seed)
    listed = [it.picture for it in doubted if it.probability < IMPROBABLE]
    clean = [it for it in suspects(features, targets, classes, n, seed=seed) if it.probability < IMPROBABLE]
    first = [it.picture for it in doubted][: len(planted)]
    voted = [it.row for it in disagreeing(features, wrong, 10)][: len(planted)]
    rows = (len(planted), len(listed), found(planted, listed), found(planted, first), found(planted, voted), len(clean))
    return " | ".join(map(str, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    table = np.load(options.features)
    names, targets = np.unique(table["labels"], return_inverse=True)
    features = table["features"].astype(np.float32)
    print("seed | planted | listed | planted among them | in the first | in the first by vote | listed of right labels")
    for seed in range(options.seeds):
        print(seed, measured(features, targets, len(names), options.share, seed), sep=" | ")


if __name__ == "__main__":
    main()
