"""Sunny and cloudy: a two-layer network with tanh, whose inputs shift, and two cures that need no classes.

Measured: 10 seeds, digits, test top-1 (floor 0.10), trained in the sun. Plain tanh: 0.976 ± 0.006 in the sun, 0.674 ±
0.057 at dusk, 0.570 ± 0.108 in fog; with batch normalisation worse, 0.460 ± 0.115 and 0.384 ± 0.136. Pixels fitted to
the new light bring both back to 0.974 and more, and so do statistics measured anew, where there are any. The collapse
and the cures show. That tanh saturates does not: in fog 0.23 of the hidden values lie beyond 0.95, in the sun 0.46.
python -m recipes.shift
"""

from __future__ import annotations

import statistics
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from convista.data import (
    Normalise,
    Pictures,
    channel_statistics,
    eval_view,
    global_batches,
    open_cache,
    open_source,
    prepare,
    user_cache,
)
from convista.records import View
from convista.transfer import Pretrained, adapted

__all__ = ["CURES", "NETS", "SKIES", "measured", "text"]

SKIES = {"sunny": (1.0, 0.0), "dusk": (0.25, 0.0), "fog": (0.4, 0.6)}  # contrast, and the light that is added
CURES = {"tanh": ("none", "pixels"), "tanh with norm": ("none", "pixels", "norms")}
NETS = tuple(CURES)
SATURATED = 0.95  # tanh beyond this hardly answers to its input
CPU = torch.device("cpu")
Table = dict[tuple[str, str, str], list[tuple[float, float]]]  # by network, sky and cure: top-1 and share saturated


def two_layers(norm: bool) -> nn.Module:
    """Pictures (N, 1, 8, 8) -> 32 tanh -> logits (N, 10)."""
    layers = {
        "flat": nn.Flatten(),
        "hidden": nn.Linear(64, 32),
        "norm": nn.BatchNorm1d(32) if norm else None,
        "act": nn.Tanh(),
        "head": nn.Linear(32, 10),
    }
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def under(pictures: Pictures, sky: str) -> Pictures:
    """The same pictures in another light."""
    contrast, light = SKIES[sky]
    bytes_of = np.stack([pictures[i] for i in range(len(pictures))])
    shown = (contrast * bytes_of + light * 255).round().clip(0, 255).astype(np.uint8)
    return replace(pictures, cached=shown, rows=np.arange(len(pictures)))


def trained(net: nn.Module, pictures: Pictures, view: View, epochs: int) -> nn.Module:
    """Gradient descent with momentum, in batches of about 64."""
    pixels, targets = eval_view(pictures, np.arange(len(pictures)), view)
    inputs = Normalise.of(view, CPU)(pixels)
    descent = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=1e-4)
    net.train()
    for epoch in range(epochs):
        for chosen in global_batches(len(pictures), 64, 0, epoch):
            descent.zero_grad()
            nn.functional.cross_entropy(net(inputs[chosen]), targets[chosen]).backward()
            descent.step()
    return net.eval()


def judged(base: Pretrained, pictures: Pictures) -> tuple[float, float]:
    """Top-1, and the share of the hidden layer's values that are saturated."""
    pixels, targets = eval_view(pictures, np.arange(len(pictures)), base.view)
    hidden: list[torch.Tensor] = []
    hook = base.net.get_submodule("act").register_forward_hook(lambda *given: hidden.append(given[2]))
    with torch.no_grad():
        right = base.net(Normalise.of(base.view, CPU)(pixels)).argmax(1) == targets
    hook.remove()
    return float(right.float().mean()), float((hidden[0].abs() > SATURATED).float().mean())


def measured(seeds: Sequence[int] = range(10), epochs: int = 30, limit: int | None = None) -> Table:
    """Trained in the sun, judged under each sky, as it is and with each cure; a seed decides weights and splits."""
    table: Table = {}
    cache = open_cache((user_cache(),), 8, 1)
    for seed in seeds:
        splits = prepare(open_source("digits"), 8, 1, seed, cache, limit=limit).splits
        view = View(8, 8, 1, *channel_statistics(splits["train"]))
        for name, cures in CURES.items():
            torch.manual_seed(seed)
            net = trained(two_layers("norm" in name), splits["train"], view, epochs)
            base = Pretrained(net, view, name, name, None)
            for sky in SKIES:
                train, test = (under(splits[part], sky) for part in ("train", "test"))
                for cure in cures:
                    table.setdefault((name, sky, cure), []).append(judged(adapted(base, train, cure), test))
    return table


def text(table: Table) -> str:
    """A line for each network, sky and cure: mean and sample standard deviation over the seeds."""
    n = len(next(iter(table.values())))
    lines = [f"{'network':<15}{'sky':<7}{'cure':<8}{'test top-1':<16}saturated   (n = {n} seeds; floor about 0.10)"]
    for (name, sky, cure), figures in table.items():
        top1, saturated = zip(*figures, strict=True)
        spread = statistics.stdev(top1) if n > 1 else 0.0
        lines.append(
            f"{name:<15}{sky:<7}{cure:<8}{statistics.mean(top1):.3f} ± {spread:.3f}   {statistics.mean(saturated):.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(text(measured()))
