"""Initial weights: the papers' formulas, LSUV on real batches, the same start in every process and on resume."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import convista
from conftest import make_photos
from convista.blocks import INITIALISERS, Add, SubsampleAndPad, weighted, zero_last
from convista.errors import InputError, UnknownNameError
from convista.recipe import INIT_NAMES, Recipe
from convista.tasks import Run
from convista.training import Console, initialise, lsuv

QUICK = {"model": "lenet5", "epochs": 1, "batch": 9, "precision": "fp32"}


def large() -> nn.Sequential:
    """Enough weights to measure a variance: a full convolution, a grouped one, a linear layer."""
    return nn.Sequential(nn.Conv2d(64, 128, 3), nn.Conv2d(128, 256, 3, groups=4), nn.Linear(512, 256))


def fans(module: nn.Module) -> tuple[int, int]:
    """(in, out) by torch's own counting; a group's outputs are its own."""
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
    return fan_in, fan_out // getattr(module, "groups", 1)


def test_he_has_the_papers_variance() -> None:
    net = large()
    INITIALISERS["he"](net)
    full, grouped, linear = net
    assert float(full.weight.detach().var()) == pytest.approx(2 / fans(full)[1], rel=0.02)
    assert float(grouped.weight.detach().var()) == pytest.approx(2 / fans(grouped)[1], rel=0.02)
    assert float(linear.weight.detach().var()) == pytest.approx(1 / 512, rel=0.02)
    assert all((layer.bias == 0).all() for layer in net)


def test_xavier_is_uniform_with_the_papers_bound() -> None:
    net = large()
    INITIALISERS["xavier"](net)
    for layer in net:
        bound = math.sqrt(6 / sum(fans(layer)))
        assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-3)
        assert float(layer.weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.02)
        assert (layer.bias == 0).all()


def test_zeros_are_zero_and_norms_stay() -> None:
    net = convista.create("resnet20")
    INITIALISERS["zeros"](net)
    assert all(not layer.weight.any() for layer in weighted(net))
    assert all((m.weight == 1).all() for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_orthonormal_kernels_are_orthonormal_within_each_group() -> None:
    net = nn.Sequential(nn.Conv2d(64, 32, 3), nn.Conv2d(32, 32, 3, groups=4), nn.Conv2d(8, 100, 1))
    INITIALISERS["orthonormal"](net)
    one, grouped, wide = (layer.weight.detach().flatten(1) for layer in net)
    assert torch.allclose(one @ one.T, torch.eye(32), atol=1e-5)
    assert all(torch.allclose(part @ part.T, torch.eye(8), atol=1e-5) for part in grouped.chunk(4))
    assert torch.allclose(wide.T @ wide, torch.eye(8), atol=1e-5)


def outputs(net: nn.Module, x: Tensor) -> list[Tensor]:
    """What each weighted layer puts out, the statistics of normalisations taken from the batch, without dropout."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda _, __, out: seen.append(out.clone())) for m in weighted(net)]
    for module in net.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v2"])
def test_lsuv_gives_every_layer_variance_one(name: str) -> None:
    torch.manual_seed(0)
    spec = convista.spec(name, 5)
    net, x = spec(), torch.randn(8, spec.channels, 32, 32)
    found = lsuv(net, x)
    assert len(found) == len(list(weighted(net)))
    assert all(float(out.var(correction=0)) == pytest.approx(1, abs=0.021) for out in outputs(net, x))


@pytest.mark.parametrize("name", ["resnetv2_50", "regnety_002"])
def test_lsuv_works_on_networks_of_timm(name: str) -> None:
    torch.manual_seed(0)
    net, x = timm.create_model(name, num_classes=4), torch.randn(2, 3, 32, 32)
    variances = lsuv(net, x)
    follow = [v for v in variances.values() if abs(v - 1) <= 0.02]
    own = name == "resnetv2_50"  # its convolutions standardise their weights themselves
    assert len(follow) >= (1 if own else len(variances))
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_lsuv_changes_weights_and_nothing_else() -> None:
    net = convista.create("resnet20").train()
    net.head.eval()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    lsuv(net, torch.randn(4, 3, 32, 32))
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert net.training
    assert not net.head.training
    assert not any(module._forward_hooks for module in net.modules())


def test_lsuv_survives_pictures_without_variation() -> None:
    net = convista.create("lenet5")
    variances = lsuv(net, torch.zeros(4, 1, 32, 32))
    assert set(variances.values()) == {0.0}
    assert all(torch.isfinite(p).all() for p in net.parameters())


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "resnet50_v2"])
def test_zero_last_makes_every_block_its_shortcut(name: str) -> None:
    net = convista.create(name, classes=3).train()
    zero_last(net)
    seen: list[bool] = []
    for module in net.modules():
        if isinstance(getattr(module, "add", None), Add) and not isinstance(module.shortcut, SubsampleAndPad):
            module.add.register_forward_hook(lambda _, args, out: seen.append(torch.equal(out, args[1])))
    net(torch.randn(2, 3, 64, 64))
    assert seen
    assert all(seen)


def test_zero_last_leaves_no_channel_dead_for_good() -> None:
    """Where the shortcut pads with zeros and the branch is zero, too, no gradient would ever pass the rectifier."""
    torch.manual_seed(0)
    net = convista.create("resnet20")
    zero_last(net)
    net(torch.randn(8, 3, 32, 32)).logsumexp(1).sum().backward()
    last = [block.conv2.norm.weight.grad for stage in (net.conv2_x, net.conv3_x, net.conv4_x) for block in stage]
    assert all((grad != 0).all() for grad in last)


def test_zero_last_asks_blocks_of_timm_for_their_own() -> None:
    net = timm.create_model("resnet18", zero_init_last=False)
    zero_last(net)
    assert not net.layer1[0].bn2.weight.any()


def test_zero_last_is_refused_where_there_is_no_branch(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Leave --zero-last out"):
        convista.train(photos, out=tmp_path / "run", model="lenet5", channels=3, zero_last=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", INIT_NAMES)
def test_each_word_trains_and_is_written_down(name: str, photos: Path, tmp_path: Path) -> None:
    words = QUICK | ({"model": "resnet20", "image": 16} if name == "he" else {})
    run = convista.train(photos, out=tmp_path / "run", init=name, zero_last=name == "he", **words)
    assert (run.recipe.init, run.recipe.zero_last) == (name, name == "he")
    assert math.isfinite(run.history[0].train_loss)


def test_the_same_seed_gives_the_same_start() -> None:
    x = torch.randn(4, 3, 32, 32)

    def start(seed: int) -> Tensor:
        torch.manual_seed(seed)
        net = convista.create("resnet20")
        initialise(net, Recipe.of(init="lsuv", zero_last=True), lambda: x)
        return net.conv2_x.block1.conv1.conv.weight.detach()

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_the_words_never_touch_a_run_that_goes_on(photos: Path, tmp_path: Path) -> None:
    whole = convista.train(photos, out=tmp_path / "whole", init="lsuv", **QUICK | {"epochs": 3})
    calls = iter(range(100))
    with pytest.raises(Exception, match="--resume"):
        convista.train(
            photos, out=tmp_path / "cut", init="lsuv", console=Console(stopped=lambda: next(calls) > 4),
            **QUICK | {"epochs": 3},
        )  # fmt: skip
    convista.train(resume=tmp_path / "cut")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    assert whole.history[-1].train_loss == Run.load(tmp_path / "cut").history[-1].train_loss


def test_two_processes_start_alike(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "photos", each=12)
    one = convista.train(data, out=tmp_path / "one", init="lsuv", **QUICK)
    words = [data, *(word for name, value in QUICK.items() for word in (f"--{name}", value)), "--init", "lsuv"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*launch, "-m", "convista", "train", *words, "--out", tmp_path / "two"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr[-1500:]
    two = Run.load(tmp_path / "two")
    assert one.history[0].train_loss == pytest.approx(two.history[0].train_loss, abs=1e-5)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean xavier"):
        Recipe.of(init="xavjer")
    with pytest.raises(InputError, match="expected true or false"):
        Recipe.of(zero_last="yes")
