"""What bfloat16 gains on this processor: one training step in fp32 against one in bf16, in turn.

python benchmarks/precision.py [--pairs 5]
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

import convista

CASES = (  # network, pictures a step, side, channels
    ("lenet5", 64, 32, 1),
    ("resnet20", 64, 32, 3),
    ("resnet56", 64, 32, 3),
    ("resnet18", 32, 64, 3),
    ("resnet18", 16, 224, 3),
    ("mobilenet_v2", 16, 224, 3),
    ("resnet50", 8, 224, 3),
)


def step_seconds(net: nn.Module, pictures: Tensor, half: bool) -> float:
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = net(pictures)
    logits.float().sum().backward()
    net.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    for name, batch, side, channels in CASES:
        net = convista.create(name).to(memory_format=torch.channels_last)
        pictures = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last)
        pairs = [tuple(step_seconds(net, pictures, half) for half in (False, True)) for _ in range(options.pairs + 2)][
            2:
        ]
        full, half = (statistics.median(pair[i] for pair in pairs) * 1000 for i in (0, 1))
        gain = statistics.median(a / b for a, b in pairs)
        print(f"{name} {batch} x {side}: fp32 {full:.0f} ms, bf16 {half:.0f} ms, gain {gain:.2f}", flush=True)


if __name__ == "__main__":
    main()
