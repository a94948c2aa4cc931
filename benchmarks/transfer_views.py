"""How many views of a picture are worth keeping: heads on 1, 2, 4, … kept views against a view for each epoch.

    python benchmarks/transfer_views.py WEIGHTS --data FOLDER [--epochs 20] [--seeds 3]

WEIGHTS are MobileNetV2's as .safetensors, FOLDER holds train/, val/ and test/ with a folder for each class. With as
many views as epochs a head never sees the same twice: that is what training behind a frozen network sees which
looks at each picture anew in each epoch. Printed: top-1 on test, mean and sample standard deviation over the seeds,
which decide the views, the order and what is dropped.
"""

import argparse
import statistics

import numpy as np
import torch

from convista.data import open_cache, open_source, prepare, read_policy, user_cache
from convista.tasks.preparing import fast_precision
from convista.transfer import HeadRecipe, Trunk, Views, features_of, pretrained, softmax_probe, train_head

COUNTS = (1, 2, 4, 8)
DROPOUT = 0.5  # as `train --from` has it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    base, source = pretrained("mobilenet_v2", options.weights), open_source(options.data)
    cache = open_cache((user_cache(),), base.view.stored, base.view.channels)
    splits = prepare(source, base.view.stored, base.view.channels, 0, cache).splits
    counts = (*COUNTS, options.epochs)
    device, kept = torch.device("cpu"), user_cache() / "features"
    trunk = Trunk(base.net, base.view, device, precision=fast_precision(device))
    judged = {name: features_of(trunk, splits[name], Views(), kept).values[:, 0] for name in ("val", "test")}
    found: dict[int, list[float]] = {count: [] for count in counts}
    for seed in range(options.seeds):
        looks = Views(counts[-1], read_policy("light"), seed)
        features, targets = features_of(trunk, splits["train"], looks, kept).values, splits["train"].targets
        classes = int(targets.max()) + 1
        probe = softmax_probe(features[:, 0].astype(np.float32), targets, classes, seed=seed)
        how = HeadRecipe(epochs=options.epochs, mixup=0.0, dropout=DROPOUT, seed=seed)
        for count in counts:
            val = (judged["val"], splits["val"].targets)
            head, _ = train_head(features[:, :count], targets, classes, how, probe, val)
            found[count].append(right(head, judged["test"], splits["test"].targets))
    print("| views kept | test top-1 |\n|---|---|")
    for count, values in found.items():
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"| {count} | {statistics.mean(values):.4f} ± {spread:.4f} |")


def right(head: torch.nn.Linear, features: np.ndarray, targets: np.ndarray) -> float:
    """The share of pictures whose class the head names."""
    with torch.inference_mode():
        logits = head(torch.from_numpy(features.astype(np.float32))).numpy()
    return float((logits.argmax(1) == targets).mean())


if __name__ == "__main__":
    main()
