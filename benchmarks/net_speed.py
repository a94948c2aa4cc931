"""Our networks against torchvision's twins: eager forward and backward, channels_last, interleaved in one process.

    python benchmarks/net_speed.py --pairs 30 --threads 2

Prints, for each network, ours / theirs (below 1 is faster).
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
    """The ratio ours / theirs, and our median seconds a step.

    Of two equal networks in one process the one that was built first is up to 3 % slower (where its memory lies), so
    each is built first once, and the two medians are averaged.
    """
    pictures = torch.randn(batch, 3, image, image).to(memory_format=torch.channels_last)
    medians, seconds = [], []
    for builders in (("ours", "theirs"), ("theirs", "ours")):
        nets = {who: build(who, name) for who in builders}
        for net in [*nets.values()] * 2:
            step_seconds(net, pictures)
        times = [
            {who: step_seconds(nets[who], pictures) for who in sorted(nets, reverse=i % 2 == 0)} for i in range(pairs)
        ]
        medians.append(statistics.median(t["ours"] / t["theirs"] for t in times))
        seconds += [t["ours"] for t in times]
    return statistics.geometric_mean(medians), statistics.median(seconds)


def build(who: str, name: str) -> nn.Module:
    net: nn.Module = convista.create(name) if who == "ours" else torchvision.models.get_model(name)
    return net.to(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--only", nargs="*", choices=list(NETWORKS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.only or NETWORKS:
        batch = NETWORKS[name]
        median, seconds = ratio(name, batch, options.pairs, options.image)
        print(f"{name}: ours / torchvision = {median:.3f}  ({seconds * 1000:.0f} ms a step of {batch})", flush=True)


if __name__ == "__main__":
    main()
