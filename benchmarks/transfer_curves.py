"""How many pictures a pretrained network saves: accuracy over pictures per class, beside training from scratch.

    python benchmarks/transfer_curves.py WEIGHTS --data FOLDER --out FOLDER [--sizes 5,10,20,50] [--seeds 3]

WEIGHTS are MobileNetV2's as .safetensors. The data has train/ and test/ (or val/) with a folder for each class. Of its
training pictures some validate, the same in all runs; of the rest each seed draws its own, the smaller sets within the
larger ones. Of its test pictures at most 100 of each class are taken. Ways:

    head       `--unfreeze none`: a head on cached features, four views of each picture, 20 epochs
    last       `--unfreeze last`: the last stages learn further, 8 epochs
    all        `--unfreeze all`: the whole network does, 8 epochs
    scratch    --scratch NAME, at --image pixels, 60 epochs, the usual recipe

What was measured is kept in FOLDER/curves.json, and a second call with the same words goes on from there. Printed:
top-1 on test, mean and sample standard deviation over the seeds. The pictures that validate, by which plan and epoch
are chosen, come on top of those per class.
"""

import argparse
import json
import random
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import convista
from convista.files import write_atomically
from convista.training import Console

TUNED = 8  # epochs
Found = dict[str, dict[str, Any]]  # by "way/size/seed"


def taken(data: Path, per_class: int, seed: int, validate: int, out: Path) -> Path:
    """A folder of links: `per_class` pictures of each class train, drawn by the seed."""
    tests = data / ("test" if (data / "test").is_dir() else "val")
    for label in sorted(path.name for path in (data / "train").iterdir() if path.is_dir()):
        pool, judges = sorted((data / "train" / label).iterdir()), sorted((tests / label).iterdir())
        shuffled = random.Random(f"{label} {seed}").sample(pool[validate:], len(pool) - validate)
        if len(shuffled) < per_class:
            raise SystemExit(f"{label} has {len(shuffled)} pictures to draw from, not {per_class}: give other --sizes.")
        for split, files in {"train": shuffled[:per_class], "val": pool[:validate], "test": judges[:100]}.items():
            folder = out / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                if not (folder / file.name).exists():
                    (folder / file.name).symlink_to(file.resolve())
    return out


def words(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """What `convista.train` is told."""
    if way == "scratch":
        return {"model": options.scratch, "image": options.image, "epochs": 60}
    base = {"from_": "mobilenet_v2", "weights": options.weights}
    return base | ({"unfreeze": "none"} if way == "head" else {"unfreeze": way, "epochs": TUNED})


def measured(way: str, size: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run's accuracy on test, its floor and its seconds."""
    data = taken(options.data, size, seed, options.validate, options.out / "data" / f"{size}-{seed}")
    out = options.out / "runs" / f"{way}-{size}-{seed}"
    quiet, start = Console(say=lambda _: None), time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)  # one that was stopped
    run = convista.train(data, out=out, seed=seed, console=quiet, **words(way, options))
    seconds = round(time.perf_counter() - start, 1)
    told = {"top1": run.test.top1, "floor": run.test.floor["top1"], "seen": run.test.pictures, "seconds": seconds}
    print(f"{way}, {size} per class, seed {seed}: {told}", flush=True)
    return told


def table(found: Found, sizes: list[int], ways: list[str]) -> str:
    """Rows of sizes, columns of ways."""
    lines = ["| per class | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
    for size in sizes:
        cells = []
        for way in ways:
            values = [row["top1"] for name, row in found.items() if name.startswith(f"{way}/{size}/")]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "–")
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=lambda name: Path(name).absolute())
    parser.add_argument("--data", type=lambda name: Path(name).absolute(), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=[5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validate", type=int, default=20, help="pictures of each class that validate")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=["head", "last", "all", "scratch"])
    parser.add_argument("--scratch", default="resnet18")
    parser.add_argument("--image", type=int, default=64)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "curves.json"
    decides = {name: str(getattr(options, name)) for name in ("weights", "data", "validate", "scratch", "image")}
    held: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"words": decides, "runs": {}}
    if held["words"] != decides:
        raise SystemExit(f"{kept} was made with {held['words']}: give another --out.")
    found: Found = held["runs"]
    for seed in range(options.seeds):
        for size in options.sizes:
            for way in options.ways:
                if (name := f"{way}/{size}/{seed}") not in found:
                    found[name] = measured(way, size, seed, options)
                    write_atomically(kept, json.dumps(held, indent=1))
    print(table(found, options.sizes, options.ways))
    row = next(iter(found.values()))
    print(f"\n{row['seen']} test pictures; always saying one class gets {row['floor']:.3f}.")


if __name__ == "__main__":
    main()
