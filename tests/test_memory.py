"""Memory foreseen is memory taken; latency says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import timm
import torch
from networks import quickly
from torch import Tensor, nn

import convista
from convista.errors import InputError, UnknownNameError

FAMILIES = {
    "lenet5": 32, "alexnet": 67, "zfnet": 80, "vgg11_bn": 32, "googlenet": 64, "inception_v3": 96,
    "inception_resnet_v2": 96, "resnet18": 64, "resnet50_v2": 64, "resnet20": 32, "resnext50_32x4d": 64,
    "densenet121": 64, "xception": 96, "mobilenet": 64, "mobilenet_v2": 64, "nasnet_mobile": 64, "efficientnet_b0": 64,
}  # fmt: skip


@contextmanager
def saved_storages(net: nn.Module) -> Iterator[dict[int, int]]:
    """Bytes that autograd saves while it runs, by address: the truth, with real numbers."""
    own = {tensor.untyped_storage().data_ptr() for tensor in net.state_dict().values()}
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


@pytest.mark.parametrize("name", FAMILIES)
def test_activations_foreseen_are_those_that_training_saves(name: str) -> None:
    side = FAMILIES[name]
    spec = convista.spec(name, classes=10).at(side)
    net = quickly(spec).train()
    with saved_storages(net) as found:
        net(torch.randn(2, spec.channels, side, side))
    foreseen = convista.memory(spec, batch=2).activations
    assert foreseen == pytest.approx(sum(found.values()), rel=0.01)


def test_memory_of_a_step_adds_up() -> None:
    spec = convista.spec("resnet18").at(64)
    adamw, sgd = (convista.memory(spec, batch=8, optimizer=name) for name in ("adamw", "sgd"))
    assert adamw.gradients == 4 * 11_689_512
    assert (adamw.optimizer_state, sgd.optimizer_state) == (8 * 11_689_512, 0)
    assert adamw.peak_train - sgd.peak_train == adamw.optimizer_state
    assert adamw.peak_train > adamw.weights + adamw.optimizer_state + adamw.activations
    assert convista.memory(spec, batch=16).activations == pytest.approx(2 * adamw.activations, rel=0.01)
    with pytest.raises(UnknownNameError, match="adamw"):
        convista.memory(spec, optimizer="adamx")


@pytest.mark.parametrize("optimizer", ["adamw", None])
def test_the_largest_batch_fits_and_one_more_does_not(optimizer: str | None) -> None:
    spec = convista.spec("resnet18").at(64)

    def peak(batch: int) -> int:
        need = convista.memory(spec, batch=batch, optimizer=optimizer or "sgd")
        return need.peak_infer if optimizer is None else need.peak_train

    budget = 1.5e9
    batch = convista.largest_batch(spec, budget, optimizer=optimizer)
    assert peak(batch) <= budget < peak(batch + 1)
    assert convista.largest_batch(spec, 1e6, optimizer=optimizer) == 0


def test_latency_says_what_it_is() -> None:
    found = convista.measure("lenet5", batch=4, device="cpu", seconds=0.05)
    assert 0 < found.quarter <= found.ms <= found.three_quarters
    assert (found.batch, found.device, found.threads) == (4, "cpu", torch.get_num_threads())
    assert 0 < found.peak_share < 1
    with pytest.raises(InputError, match="batch=0"):
        convista.measure("lenet5", batch=0)


def test_attention_does_not_keep_its_matrix() -> None:
    net = timm.create_model("vit_tiny_patch16_224", img_size=64).train()
    with saved_storages(net) as found:
        net(torch.randn(2, 3, 64, 64))
    assert convista.memory(net, image=64, batch=2).activations == pytest.approx(sum(found.values()), rel=0.02)


def test_a_frozen_network_needs_no_gradients() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).requires_grad_(False)
    need = convista.memory(net, image=(3, 8, 8), batch=4)
    assert (need.gradients, need.optimizer_state, need.activations) == (0, 0, 0)
    assert need.peak_train >= need.weights


def test_the_update_of_large_weights_can_be_the_worst_moment() -> None:
    net = nn.Linear(1000, 1000)
    need = convista.memory(net, image=(1000,), batch=2)
    assert need.peak_train == need.weights + need.optimizer_state + 2 * need.gradients
