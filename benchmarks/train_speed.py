"""Training throughput on the CPU: ours against a plain PyTorch loop, interleaved epoch by epoch in one process.

    python benchmarks/train_speed.py [--epochs 3] [--pictures 96] [--batch 16]

The peer is what a tutorial writes: torchvision's twin of the network, ImageFolder, a DataLoader with two workers,
RandomCrop and flip, SGD with momentum, eager fp32 in the default memory format. Ours is the training loop behind
`convista train`, with its defaults, from the second epoch on (the pictures are in the cache). Both see the same JPEG
photographs of 500 x 375 pixels at 224.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from load_speed import make_photographs
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

import convista
from convista.data import PixelCache, global_batches, open_source, prepare
from convista.records import Recipe, View
from convista.tasks.preparing import fast_precision
from convista.training import Training, Where

NETWORKS = ("resnet18", "mobilenet_v2")


class Peer:
    """The plain loop."""

    def __init__(self, name: str, data: Path, batch: int):
        steps = [
            transforms.Resize(256),
            transforms.RandomCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
        pictures = torchvision.datasets.ImageFolder(str(data), transforms.Compose(steps))
        self.loader = DataLoader(pictures, batch, shuffle=True, num_workers=2, persistent_workers=True)
        self.net = torchvision.models.get_model(name, num_classes=2)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        """Pictures a second."""
        start, seen = time.perf_counter(), 0
        self.net.train()
        for pictures, targets in self.loader:
            loss = self.loss(self.net(pictures), targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            seen += len(targets)
        return seen / (time.perf_counter() - start)


class Ours:
    """The loop behind `convista train`."""

    def __init__(self, name: str, data: Path, batch: int, scratch: Path):
        found = prepare(open_source(data), 256, 3, 0, PixelCache(scratch / "cache", 256, 3))
        precision = fast_precision(torch.device("cpu"))
        recipe = Recipe.of(model=name, batch=batch, epochs=100, lr=1e-3, precision=precision)
        view, net = View(224, 256), convista.create(name, classes=2)
        self.job = Training(net, found.splits["train"], found.splits["val"], view, recipe, Where(scratch))

    def epoch(self) -> float:
        """Pictures a second."""
        job, start = self.job, time.perf_counter()
        for indices in global_batches(len(job.train), job.recipe.batch, 0, job.state.epoch):
            job.step(job.net, indices)
        job.state.epoch += 1
        return len(job.train) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_photographs(Path(folder) / "photos", options.pictures // 2)
        for name in NETWORKS:
            ours = Ours(name, data, options.batch, Path(folder))
            peer = Peer(name, data, options.batch)
            ours.epoch()
            pairs = [(ours.epoch(), peer.epoch()) for _ in range(options.epochs + 1)][1:]
            ratio = statistics.median(a / b for a, b in pairs)
            a, b = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
            print(f"{name}: ours {a:.1f} images/s, plain PyTorch {b:.1f} images/s: {ratio:.2f}x "
                  f"(median of {len(pairs)} pairs, {torch.get_num_threads()} threads)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
