"""Pricing a zoo: ours against timm with fvcore, the same number of networks, each library at its own, in one process.

    pip install fvcore
    python benchmarks/cost_speed.py

Ours builds each network's skeleton, counts work, memory and receptive fields; theirs builds the network and counts its
multiply-accumulates. Prints seconds and theirs / ours (above 1: ours is faster).
"""

import argparse
import logging
import time
import warnings
from typing import Any

import timm
import torch

import convista
from convista.models import NETWORKS

# The networks of timm nearest to ours, large and small as ours are.
THEIRS = (
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"resnetv2_{depth}" for depth in (50, 101, 152)),
    "resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d", "resnext101_32x8d",
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"mobilenetv2_{width}" for width in ("035", "050", "075", "100", "110d", "120d", "140")),
    "mobilenetv1_100", "mobilenetv1_125", "legacy_xception", "inception_v3", "inception_resnet_v2", "nasnetalarge",
    *(f"efficientnet_b{i}" for i in range(8)),
)  # fmt: skip


def theirs(name: str) -> int:
    """Multiply-accumulates of one of timm's networks, by fvcore."""
    from fvcore.nn import FlopCountAnalysis

    net: Any = timm.create_model(name).eval()
    side = net.default_cfg["input_size"][-1]
    counted = FlopCountAnalysis(net, torch.zeros(1, 3, side, side))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(counted.total())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="how often each library prices all; the best counts")
    rounds = parser.parse_args().rounds
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    convista.cost("resnet18")  # imports and first calls are not what this measures
    theirs("resnet18")
    ours_best = theirs_best = float("inf")
    ours = list(NETWORKS)
    for _ in range(rounds):
        start = time.perf_counter()
        for name in ours:
            convista.cost(name)
        ours_best = min(ours_best, (time.perf_counter() - start) / len(ours))
        start = time.perf_counter()
        for name in THEIRS:
            theirs(name)
        theirs_best = min(theirs_best, (time.perf_counter() - start) / len(THEIRS))
    print(f"ours: {len(ours)} networks, {1e3 * ours_best:.0f} ms each; {ours_best * len(ours):.1f} s for all")
    print(f"timm + fvcore: {len(THEIRS)} networks, {1e3 * theirs_best:.0f} ms each")
    print(f"theirs / ours, per network: {theirs_best / ours_best:.2f}")


if __name__ == "__main__":
    main()
