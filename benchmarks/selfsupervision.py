"""SimCLR and MoCo on 5,000 pictures of CIFAR-10: the vote of neighbours over epochs, beside what needs no learning.

`python benchmarks/selfsupervision.py CIFAR10 --out FOLDER`, where CIFAR10 has `train/` and `test/` with a folder for
each class. Runs that are in FOLDER already are gone on with, or shown. Writes `selfsupervision.svg` there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import convista
from convista.reports.figures import curves
from convista.tasks import Run
from convista.training import Console

TAKEN = (("train", "train", 0, 500), ("val", "train", 500, 600), ("test", "test", 0, 200))  # of each class, by name
RUNS: dict[str, dict[str, Any]] = {
    "simclr": {"method": "simclr", "epochs": 10},
    "moco": {"method": "moco", "epochs": 10},
}
STYLE = (
    "<style>svg { background: #fbfaf7; font-family: system-ui, sans-serif; } .grid { stroke: #e2dfd6; } "
    ".tick { fill: #5c6672; font-size: 11px; } .line { fill: none; stroke-width: 2; } "
    ".line-simclr { stroke: #1760a5; } "
    ".line-moco { stroke: #8a6d1b; } .line-random { stroke: #b3381f; stroke-dasharray: 6 4; } "
    ".line-pixels { stroke: #5c6672; stroke-dasharray: 2 3; }</style>"
)


def part_of(cifar: Path, out: Path) -> Path:
    """A folder with links to 500 training, 100 validation and 200 test pictures of each class."""
    for split, source, first, last in TAKEN:
        for label in sorted(path for path in (cifar / source).iterdir() if path.is_dir()):
            folder = out / split / label.name
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(label.iterdir())[first:last]:
                if not (folder / file.name).exists():
                    (folder / file.name).symlink_to(file.resolve())
    return out


def run_of(data: Path, folder: Path, words: dict[str, Any]) -> Run:
    """The run in `folder`, begun, gone on with or only opened."""
    console = Console(say=print)
    if (folder / "run.json").exists():
        return convista.pretrain(resume=folder, console=console)
    return convista.pretrain(data, out=folder, console=console, model="resnet20", batch=128, **words)


def figure(runs: dict[str, Run]) -> str:
    """The neighbours' vote on validation pictures over epochs."""
    longest = max(len(run.history) for run in runs.values())
    floors = next(iter(runs.values())).info["floors"]
    lines: dict[str, Sequence[float]] = {name: [row.val_top1 for row in run.history] for name, run in runs.items()}
    lines |= {name: [float(floors[name]["val"])] * longest for name in ("random", "pixels")}
    drawing = curves(lines, "kNN top-1")
    return drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="840" ', 1).replace(
        ">", f">{STYLE}", 1
    )


def main() -> None:
    """Trains, prints a table, draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    data = part_of(given.cifar, given.out / "cifar10-5000")
    runs = {name: run_of(data, given.out / name, words) for name, words in RUNS.items()}
    print("| | epochs | minutes | val kNN | test kNN | test linear probe |\n|---|---|---|---|---|---|")
    for name, run in runs.items():
        knn, minutes = run.info["knn"], run.info["seconds"] / 60
        scores = f"{knn['val']:.3f} | {knn['test']:.3f} | {run.test.top1:.3f}"
        print(f"| {name} | {run.info['epochs']} | {minutes:.1f} | {scores} |")
    for name, floor in next(iter(runs.values())).info["floors"].items():
        print(f"| {name} | | | {floor['val']:.3f} | {floor['test']:.3f} | {floor.get('probe', float('nan')):.3f} |")
    (given.out / "selfsupervision.svg").write_text(figure(runs))


if __name__ == "__main__":
    main()
