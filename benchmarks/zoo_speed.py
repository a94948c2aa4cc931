"""One network of each family against its twin of torchvision or timm: inference and training, eager and compiled.

    python benchmarks/zoo_speed.py --pairs 9                          # eager
    python benchmarks/zoo_speed.py --compiled --only resnet50

Prints ours / theirs (below 1 is faster): the median over pairs of interleaved runs, of two networks in one process,
each built first once.
"""

import argparse
import logging
import statistics
import time
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

import convista

# ours: library, theirs, side of the picture, pictures a batch
TWINS = {
    "alexnet_owt": ("torchvision", "alexnet", 224, 8),
    "vgg11": ("torchvision", "vgg11", 224, 2),
    "googlenet_tv": ("torchvision", "googlenet", 224, 4),
    "inception_v3": ("timm", "inception_v3", 299, 2),
    "inception_resnet_v2": ("timm", "inception_resnet_v2", 299, 1),
    "resnet50": ("torchvision", "resnet50", 224, 4),
    "resnet50_v2": ("timm", "resnetv2_50", 224, 4),
    "resnext50_32x4d": ("torchvision", "resnext50_32x4d", 224, 4),
    "densenet121": ("torchvision", "densenet121", 224, 4),
    "xception": ("timm", "legacy_xception", 299, 2),
    "mobilenet": ("timm", "mobilenetv1_100", 224, 8),
    "mobilenet_v2": ("torchvision", "mobilenet_v2", 224, 8),
    "nasnet_large": ("timm", "nasnetalarge", 224, 1),
    "efficientnet_b0": ("torchvision", "efficientnet_b0", 224, 4),
}


def build(who: str, name: str) -> nn.Module:
    """Ours or theirs, in channels_last."""
    library, theirs, _, _ = TWINS[name]
    if who == "ours":
        net: nn.Module = convista.create(name)
    elif library == "torchvision":
        extra = {"aux_logits": False, "init_weights": False} if theirs == "googlenet" else {}
        net = torchvision.models.get_model(theirs, weights=None, **extra)
    else:
        import timm

        net = timm.create_model(theirs)
    return net.to(memory_format=torch.channels_last)


def seconds(net: Any, pictures: Tensor, training: bool) -> float:
    """One step: forward and backward, or forward alone."""
    net.train(training)
    start = time.perf_counter()
    if training:
        net(pictures).sum().backward()
    else:
        with torch.inference_mode():
            net(pictures)
    took = time.perf_counter() - start
    net.zero_grad(set_to_none=True)
    return took


def ratio(name: str, training: bool, pairs: int, compiled: bool) -> tuple[float, float]:
    """Ours / theirs, and our median seconds a step."""
    _, _, side, batch = TWINS[name]
    pictures = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    medians, ours = [], []
    for order in (("ours", "theirs"), ("theirs", "ours")):
        torch._dynamo.reset()
        nets = {who: build(who, name) for who in order}
        runs = {who: torch.compile(net) if compiled else net for who, net in nets.items()}
        for run in [*runs.values()] * 2:
            seconds(run, pictures, training)
        times = [
            {who: seconds(runs[who], pictures, training) for who in sorted(runs, reverse=i % 2 == 0)}
            for i in range(pairs)
        ]
        medians.append(statistics.median(t["ours"] / t["theirs"] for t in times))
        ours += [t["ours"] for t in times]
    return statistics.geometric_mean(medians), statistics.median(ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(TWINS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)
    how = "compiled" if options.compiled else "eager"
    for name in options.only or TWINS:
        found = {
            word: ratio(name, word == "training", options.pairs, options.compiled) for word in ("inference", "training")
        }
        said = ", ".join(f"{word} {r:.3f} ({s * 1000:.0f} ms)" for word, (r, s) in found.items())
        print(f"{name} / {TWINS[name][0]} {TWINS[name][1]}, {how}: {said}", flush=True)


if __name__ == "__main__":
    main()
