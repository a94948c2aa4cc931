"""Our networks against torchvision's twins: eager forward and backward, channels_last, interleaved in one process.

    python benchmarks/net_speed.py --pairs 30 --threads 2

Prints, for each network, the median over pairs of ours / theirs (below 1 is faster).
"""

import argparse
import statistics
import time

import torch
import torchvision
from torch import Tensor, nn

import convista

NETWORKS = {"resnet18": 8, "resnet50": 4, "mobilenet_v2": 8}  # name: pictures a batch


def step_seconds(net: nn.Module, pictures: Tensor) -> float:
    start = time.perf_counter()
    net(pictures).sum().backward()
    seconds = time.perf_counter() - start
    net.zero_grad(set_to_none=True)
    return seconds


def ratio(name: str, batch: int, pairs: int, image: int) -> tuple[float, float]:
    """Median ratio ours / theirs, and our median seconds a step."""
    pictures = torch.randn(batch, 3, image, image).to(memory_format=torch.channels_last)
    ours = convista.create(name).to(memory_format=torch.channels_last)
    theirs = torchvision.models.get_model(name).to(memory_format=torch.channels_last)
    for net in (ours, theirs, ours, theirs):
        step_seconds(net, pictures)
    times = [
        (a, b) if i % 2 else (b, a)
        for i in range(pairs)
        for first, second in [(ours, theirs) if i % 2 else (theirs, ours)]
        for a, b in [(step_seconds(first, pictures), step_seconds(second, pictures))]
    ]
    return statistics.median(a / b for a, b in times), statistics.median(a for a, _ in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image", type=int, default=224)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, batch in NETWORKS.items():
        median, seconds = ratio(name, batch, options.pairs, options.image)
        print(f"{name}: ours / torchvision = {median:.3f}  ({seconds * 1000:.0f} ms a step of {batch})", flush=True)


if __name__ == "__main__":
    main()
