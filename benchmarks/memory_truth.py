"""Memory foreseen against memory taken, one network of each family: saved for backward, and a step's worst moment.

    pip install torchinfo
    python benchmarks/memory_truth.py

The truth of what is saved: unique storages that autograd saves on the CPU with real numbers, weights and buffers left
out. The truth of the worst moment: what torch's profiler sees allocated on the CPU in a step (forward, backward, AdamW
with foreach) and in an inference, above what was allocated before: inputs, maps and gradients, but not weights and the
optimizer's state, which both sides would share. It holds what kernels borrow, too. torchinfo's "forward/backward pass
size" is beside the first.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import convista

FAMILIES = {
    "alexnet": 227, "zfnet": 224, "vgg16": 224, "googlenet": 224, "inception_v3": 299, "inception_resnet_v2": 299,
    "resnet50": 224, "resnet50_v2": 224, "resnet20": 32, "resnext50_32x4d": 224, "densenet121": 224, "xception": 299,
    "mobilenet": 224, "mobilenet_v2": 224, "nasnet_mobile": 224, "efficientnet_b0": 224,
}  # fmt: skip


def saved(net: nn.Module, x: Tensor) -> int:
    """Bytes of the storages that autograd saves."""
    own = {tensor.untyped_storage().data_ptr() for tensor in net.state_dict().values()}
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.train()(x)
    return sum(found.values())


def worst(run: Callable[[], Any]) -> int:
    """The most bytes that are allocated at once while `run` runs, above those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    now = most = 0
    results: Any = seen.profiler
    for event in sorted(results.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def torchinfo_says(net: nn.Module, x: Tensor) -> float:
    from torchinfo import summary

    return float(summary(net, input_data=x, verbose=0, mode="train").total_output_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    batch = parser.parse_args().batch
    print("| network | saved, MB | foreseen / saved | torchinfo / saved | step, MB | foreseen / step | inference, MB "
          "| foreseen / inference |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name, side in FAMILIES.items():
        net = convista.create(name)
        x = torch.randn(batch, net.spec.channels, side, side)
        need = convista.memory(net, image=(net.spec.channels, side, side), batch=batch, optimizer="adamw")
        truth = saved(net, x)
        info = torchinfo_says(net, x)

        optimizer = torch.optim.AdamW(net.parameters(), foreach=True)
        net.train()(x).sum().backward()
        optimizer.step()  # its state is there before the clock starts
        optimizer.zero_grad(set_to_none=True)

        def step(net: nn.Module = net, x: Tensor = x, optimizer: torch.optim.Optimizer = optimizer) -> None:
            net.train()(x).sum().backward()
            optimizer.step()

        def infer(net: nn.Module = net, x: Tensor = x) -> None:
            with torch.no_grad():
                net.eval()(x)

        train, inference = worst(step) + x.nbytes, worst(infer) + x.nbytes
        foreseen = need.peak_train - need.weights - need.optimizer_state, need.peak_infer - need.weights
        print(
            f"| {name} | {truth / 1e6:.1f} | {need.activations / truth:.3f} | {info / truth:.2f} | {train / 1e6:.0f} | "
            f"{foreseen[0] / train:.3f} | {inference / 1e6:.1f} | {foreseen[1] / inference:.3f} |"
        )


if __name__ == "__main__":
    main()
