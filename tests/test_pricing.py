"""Prices are exact on any module, leave no trace, and are what the network then costs."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import timm
import torch
import torchvision
from networks import quickly
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convista
from convista.blocks import Conv, SqueezeExcite
from convista.blocks.windows import SameAvgPool2d, SameMaxPool2d
from convista.errors import InputError, UnknownNameError
from convista.pricing import beside, claims, shapes, what_if


class Functional(nn.Module):
    """Two convolutions, one of them without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight) + self.conv(x)


class Thrice(nn.Module):
    """One convolution, used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(self.conv(x)))


class Made(nn.Module):
    """A module of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x)


EDGES: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "functional convolution": (Functional(), (3, 16, 16), 2 * 14 * 14 * 8 * 27),
    "shared module": (Thrice(), (3, 16, 16), 3 * 16 * 16 * 3 * 27),
    "a @ b": (Made(lambda x: x @ x.transpose(1, 2)), (10, 7), 10 * 7 * 10),
    "einsum": (Made(lambda x: torch.einsum("ncd,nkd->nck", x, x)), (10, 7), 10 * 7 * 10),
    "transposed convolution": (nn.ConvTranspose2d(8, 4, 4, 2, 1), (8, 10, 10), 8 * 10 * 10 * 4 * 16),
    "grouped transposed": (nn.ConvTranspose2d(8, 8, 3, groups=4), (8, 10, 10), 8 * 10 * 10 * 2 * 9),
    "linear on a 4-D input": (nn.Linear(7, 5), (3, 4, 7), 3 * 4 * 7 * 5),
    "linear on a vector": (nn.Linear(7, 5, bias=False), (7,), 35),
    "grouped": (nn.Conv2d(8, 16, 3, groups=4), (8, 10, 10), 8 * 8 * 16 * 2 * 9),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8), (8, 10, 10), 8 * 8 * 8 * 9),
    "strided, dilated": (nn.Conv2d(3, 8, 3, 2, 2, dilation=2), (3, 9, 11), 5 * 6 * 8 * 27),
    "one dimension": (nn.Conv1d(4, 8, 3, 2), (4, 50), 24 * 8 * 12),
    "three dimensions": (nn.Conv3d(3, 8, 3, 2), (3, 9, 9, 9), 64 * 8 * 81),
    "attention": (Made(attention), (4, 10, 16), 2 * 4 * 10 * 10 * 16),
    "multi-head attention": (timm.layers.Attention(16, 4), (10, 16), 10 * 16 * 48 + 2 * 10 * 10 * 16 + 10 * 16 * 16),
    "recurrence": (nn.LSTM(16, 8, batch_first=True), (10, 16), 10 * 4 * 8 * (16 + 8)),
}


@pytest.mark.parametrize("case", EDGES)
def test_work_is_exact_however_the_network_is_written(case: str) -> None:
    module, shape, macs = EDGES[case]
    found = convista.cost(module, image=shape, strict=True)
    assert found.macs == macs
    assert found.flops == 2 * macs
    assert found.params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("case", EDGES)
def test_a_module_on_the_meta_device_costs_the_same(case: str) -> None:
    module, shape, macs = EDGES[case]
    if next(module.parameters(), None) is not None:
        module = copy.deepcopy(module).to("meta")
    assert convista.cost(module, image=shape).macs == macs


OTHERS = [
    "torchvision:googlenet", "torchvision:shufflenet_v2_x0_5", "torchvision:mnasnet0_5", "timm:seresnet18",
    "timm:convnext_atto", "timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:regnety_002",
]  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_libraries_cost_what_torch_itself_counts(name: str) -> None:
    library, _, model = name.partition(":")
    words = {"aux_logits": False, "init_weights": False} if model == "googlenet" else {}
    with torch.device("meta"):
        net = (torchvision.models.get_model if library == "torchvision" else timm.create_model)(model, **words).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, 224, 224))
    found = convista.cost(name)
    assert (found.macs, found.params) == (counter.get_total_flops() // 2, sum(p.numel() for p in net.parameters()))
    assert sum(row.macs for row in found.rows) == found.macs
    assert found.uncounted == ()


def fingerprint(net: nn.Module) -> str:
    """All that pricing could change."""
    text = io.BytesIO()
    torch.save(net.state_dict(), text)
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training, sorted(vars(m))) for m in net.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in net.parameters()]
    state = [*net.state_dict(), str(hooks), str(flags), str(torch.get_rng_state().tolist())]
    return hashlib.sha256(text.getvalue() + repr(state).encode()).hexdigest()


@pytest.mark.parametrize("training", [True, False])
def test_pricing_leaves_no_trace(training: bool) -> None:
    torch.manual_seed(3)
    layers = [
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Dropout(),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)),
    ]
    net = nn.Sequential(*layers).train(training)
    net[1].train(not training)
    calls: list[int] = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    before = fingerprint(net)
    convista.cost(net, image=(3, 16, 16))
    convista.memory(net, image=(3, 16, 16), batch=4)
    convista.measure(net, image=(3, 16, 16), seconds=0.01)
    assert fingerprint(net) == before
    assert not calls or len(calls) > 3, "hooks run in a measurement at most"


def test_what_looks_at_its_values_is_run_with_numbers_and_what_is_unknown_is_said() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return torch.fft.fft(y).real if y.mean().item() < 1e9 else y

    found = convista.cost(Odd(), image=(3, 8, 8))
    assert found.macs == 6 * 6 * 8 * 27
    assert found.uncounted == ("aten._fft_r2c.default",)
    with pytest.raises(InputError, match=r"_fft_r2c.*uncounted"):
        convista.cost(Odd(), image=(3, 8, 8), strict=True)


def test_kinds_of_other_work_are_told_apart() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    found = convista.cost(net, image=(3, 8, 8))
    assert found.other_flops == {"normalisation": 2 * 4 * 64, "activation": 4 * 64, "pooling": 4 * 16 * 4 + 4 * 16}
    assert {row.name: (row.kind, row.shape, row.calls) for row in found.rows}["3"] == ("MaxPool2d", (4, 4, 4), 1)


# --- receptive fields

PUBLISHED = {
    "alexnet_owt": 195, "alexnet": 195, "vgg16": 212, "resnet50_v1": 483, "resnet101_v1": 1027, "resnet152_v1": 1507,
    "mobilenet": 315, "inception_v3": 1311, "inception_resnet_v2": 3039, "resnet50": 427, "resnet101": 971,
    "resnet152": 1451,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_receptive_fields_are_the_published_ones(name: str) -> None:
    assert convista.cost(name).receptive_field == PUBLISHED[name]


def positive(net: nn.Module) -> nn.Module:
    """The network in double precision, so that every path is open: weights above zero, means in place of maxima."""
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.ReLU6):
            net.get_submodule(name.rpartition(".")[0]).add_module(name.rpartition(".")[2], nn.ReLU())
        if isinstance(module, nn.MaxPool2d):
            same = isinstance(module, SameMaxPool2d)
            pads = () if same else (module.padding, module.ceil_mode)
            mean = (SameAvgPool2d if same else nn.AvgPool2d)(module.kernel_size, module.stride, *pads)
            net.get_submodule(name.rpartition(".")[0]).add_module(name.rpartition(".")[2], mean)
    for name, tensor in net.state_dict().items():
        if name.endswith("weight") and tensor.ndim > 1:
            tensor.fill_(1 / tensor[0].numel())
    return net.double().eval()


def support(net: nn.Module, layer: str, image: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
    """For height and width: the first and last pixel that the middle unit of a layer sees, and the unit's place."""
    maps: list[Tensor] = []
    hook = net.get_submodule(layer).register_forward_hook(lambda _, __, out: maps.append(out))
    x = torch.ones(1, next(net.parameters()).shape[1], *image, dtype=torch.float64, requires_grad=True)
    net(x)
    hook.remove()
    place = [n // 2 for n in maps[0].shape[2:]]
    (grad,) = torch.autograd.grad(maps[0][0, :, place[0], place[1]].sum(), x)
    seen = grad[0].abs().sum(0)
    rows, columns = (seen.sum(axis).nonzero().flatten() for axis in (1, 0))
    return (int(rows[0]), int(rows[-1]), place[0]), (int(columns[0]), int(columns[-1]), place[1])


def check_support(net: nn.Module, layer: str, image: tuple[int, int]) -> None:
    row = convista.cost(net, image=(next(net.parameters()).shape[1], *image)).layer(layer)
    assert row.receptive_field is not None
    assert row.stride is not None
    assert row.padding is not None
    for axis, (first, last, place) in enumerate(support(positive(net), layer, image)):
        start = place * row.stride[axis] - row.padding[axis]
        end = start + row.receptive_field[axis] - 1
        assert start >= 0, "the picture of this test is too small"
        assert end < image[axis], "the picture of this test is too small"
        assert (first, last) == (start, end)


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [
        ("resnet50", "conv5_x.block3.act", 700), ("resnet50_v1", "conv5_x.block3.act", 800),
        ("resnet50_v2", "conv4_x.block6.add", 700), ("googlenet", "inception5b.concat", 1100),
        ("inception_v3", "mixed6e.concat", 1500), ("inception_v3", "mixed6c.conv7x7.conv1.conv", 1100),
        ("densenet121", "dense2.layer12.concat", 500), ("mobilenet", "conv14.project.act", 500),
        ("mobilenet_v2", "conv9.act", 800), ("xception", "exit3.project.act", 1600),
        ("nasnet_mobile", "cells.normal1_2", 900), ("vgg16", "pool5.pool", 400),
        ("resnet20", "conv4_x.block3.act", 250),
        ("inception_resnet_v2", "reduction_a.concat", 1100),
    ],
)  # fmt: skip
def test_receptive_fields_are_where_gradients_are(name: str, layer: str, side: int) -> None:
    """On networks an eighth as wide, which see as far."""
    spec = what_if(convista.spec(name).at(side), width=0.125).spec
    check_support(quickly(spec), layer, (side, side))


class Branched(nn.Module):
    """Paths of different reach, shifts, strides, dilation, and a way up again."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 3, 2, 1)
        self.b = nn.Conv2d(1, 2, (1, 5), 2, (0, 2))
        self.c = nn.Conv2d(4, 2, 3, padding=4, dilation=4)
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.a(x), self.b(x)], 1)
        y = self.c(y) + F.pad(y[:, :2], (0, 1, 0, 1))[:, :, 1:, 1:]
        y = y.permute(0, 2, 3, 1) @ torch.ones(2, 2, dtype=y.dtype, device=y.device)
        return self.out(F.avg_pool2d(y.permute(0, 3, 1, 2), 3, 2, 1))


def test_receptive_fields_pass_through_any_operation() -> None:
    check_support(Branched(), "out", (81, 95))


def test_on_the_way_up_a_field_is_the_largest_that_a_unit_may_have() -> None:
    up = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Upsample(scale_factor=2), up)
    row = convista.cost(net, image=(1, 40, 40)).layer("2")
    assert row.stride == (0.5, 0.5)
    assert row.receptive_field is not None
    (first, last, _), _ = support(positive(net), "2", (40, 40))
    assert last - first + 1 <= row.receptive_field[0] <= last - first + 2


def test_a_gate_and_a_global_view_are_said() -> None:
    net = Conv(8, 3)(3)
    gated = nn.Sequential(net, SqueezeExcite(4)(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    rows = {row.name: row for row in convista.cost(gated, image=(3, 20, 20)).rows}
    assert (rows["1.scale"].receptive_field, rows["1.scale"].sees_all) == ((3, 3), True)
    assert (rows["0.act"].receptive_field, rows["0.act"].sees_all) == ((3, 3), False)
    assert (rows["4"].receptive_field, rows["4"].sees_all) == (None, True)


# --- memory

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


# --- what if

CHANGES = [
    ("resnet18", {"conv": "separable"}), ("resnet50_v2", {"conv": "separable"}), ("vgg16", {"conv": "separable"}),
    ("lenet5", {"conv": "separable"}), ("resnet50", {"groups": 32}), ("densenet121", {"groups": 4}),
    ("resnet18", {"bottleneck": 2}), ("resnet50_v2", {"bottleneck": 4}), ("inception_v3", {"bottleneck": 4}),
    ("resnet18", {"kernel7": "3x3x3"}), ("lenet5", {"kernel5": "3x3x2"}), ("googlenet", {"kernel5": "3x3x2"}),
    ("resnet20", {"conv": "separable"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_formula_foresees_what_the_changed_network_costs(name: str, change: dict[str, object]) -> None:
    found = what_if(name, change)
    saving = found.savings[0]
    assert (saving.params, saving.macs) == (found.after.params, found.after.macs)


@pytest.mark.parametrize("change", [
    {"conv": "separable"}, {"groups": 32}, {"bottleneck": 4}, {"kernel7": "3x3x3"}, {"width": 0.5}, {"depth": 2},
    {"image": 64}, {"conv": "separable", "width": 0.25, "image": 48},
])  # fmt: skip
def test_a_what_if_network_builds_trains_a_step_and_costs_what_was_said(change: dict[str, object]) -> None:
    found = what_if(convista.spec("resnet18", classes=5).at(40), change)
    net = convista.create(found.spec)
    assert sum(p.numel() for p in net.parameters()) == found.after.params
    assert convista.cost(net).macs == found.after.macs
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    before = [p.detach().clone() for p in net.parameters()]
    side = found.spec.image
    F.cross_entropy(net(torch.randn(2, 3, side, side)), torch.tensor([0, 4])).backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert convista.Spec.from_json(found.spec.to_json()) == found.spec


def test_width_and_depth_give_the_sisters_that_their_papers_print() -> None:
    assert what_if("mobilenet", width=0.5).after.params == convista.cost("mobilenet_050").params
    for sister, width, depth, image in (("b2", 1.1, 1.2, 260), ("b4", 1.4, 1.8, 380), ("b7", 2.0, 3.1, 600)):
        found = what_if("efficientnet_b0", width=width, depth=depth, image=image).after
        twin = convista.cost(f"efficientnet_{sister}")
        assert (found.params, found.macs) == (twin.params, twin.macs)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("resnet18", {"konv": "x"}, "Did you mean conv"),
        ("resnet18", {"conv": "depthwise"}, "separable"),
        ("resnet18", {"groups": 48}, "does not divide: 64, 128, 256, 512. What divides all of them: 2, 4, 8"),
        ("resnet18", {"groups": "many"}, "whole number of at least 2"),
        ("inception_v3", {"bottleneck": 5}, "What divides all of them"),
        ("resnet18", {"kernel7": "5x5x2"}, "sees 9 pixels, not 7. 3x3x3 does"),
        ("resnet18", {"kernel7": "3"}, "three of 3x3"),
        ("alexnet", {"kernel11": "3x3x5"}, "no stack of smaller ones"),
        ("vgg16", {"kernel7": "3x3x3"}, "Its kernels: 3x3"),
        ("mobilenet", {"conv": "separable"}, "Its kernels: 1x1, 3x3"),
        ("resnext50_32x4d", {"width": 0.3}, "width=0.25 can"),
        ("resnet18", {"width": -1}, "positive factor"),
        ("lenet5", {"depth": 2}, "no block is repeated"),
        ("vgg16", {"image": 8}, "smallest picture that it can take is 32"),
        ("resnet18", {"image": 10.5}, "side in pixels"),
        ("lenet5_sparse", {"width": 2}, "no width that could change"),
    ],
)
def test_a_change_that_cannot_be_had_says_what_can(name: str, change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        what_if(name, change)


def test_a_network_of_another_library_has_no_table_to_change() -> None:
    with pytest.raises(InputError, match="no table"):
        what_if("torchvision:resnet18", conv="separable")
    with pytest.raises(InputError, match="no table"):
        convista.scale("torchvision:resnet18", max_macs="1G")


# --- scale, pick, claims, beside


def test_scaling_spends_the_budget_and_no_more() -> None:
    found = convista.scale("efficientnet_b0", max_macs="1G")
    assert found.cost.macs <= 1e9 < what_if(
        "efficientnet_b0", width=1.1 ** (found.phi + 0.05), depth=1.2 ** (found.phi + 0.05), image=found.image + 4
    ).after.macs  # fmt: skip
    assert found.depth == pytest.approx(1.2**found.phi)
    assert convista.cost(convista.create(found.spec)).params == found.cost.params
    assert convista.scale("resnet18", max_params="1M").phi < 0
    assert convista.scale("googlenet", max_macs="2G").depth == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [({}, "name a budget"), ({"max_macs": "10"}, "no scaling brings it down"), ({"max_macs": "x"}, "800K, 5M"),
     ({"max_macs": "1G", "alpha": 0.1}, "between 1 and 2")],
)  # fmt: skip
def test_scaling_refuses_what_cannot_be(words: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        convista.scale("resnet18", **words)


def test_pick_lists_what_fits_best_first_and_says_what_keeps_the_others_out() -> None:
    found = convista.pick(max_params="8M", max_macs="600M", max_memory="40M", min_top1=70, image=224)
    assert found.fits[0].name == "efficientnet_b0"
    assert [n.top1 for n in found.fits] == sorted((n.top1 for n in found.fits), key=lambda top1: -(top1 or 0))
    assert all(n.params <= 8e6 and n.macs <= 6e8 and n.memory <= 4e7 and n.image == 224 for n in found.fits)
    assert {bound.bound.partition("=")[0] for bound in found.excluded} >= {"min_top1", "max_params"}
    out = {name for bound in found.excluded for name in bound.networks}
    assert not out & {network.name for network in found.fits}
    assert len(out) + len(found.fits) == 68


def test_pick_measures_only_what_fits_all_else() -> None:
    said: list[str] = []
    found = convista.pick(said.append, family="mobilenet", max_params="2M", max_ms=60_000)
    assert said == ["measuring 2 networks"]
    assert all(network.ms and network.ms > 0 for network in found.fits)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"max_macs": "1K"}, "max_macs=1K excludes 68 of them .the nearest is lenet5_sparse with 325,680"),
        ({"max_mac": "1K"}, "Did you mean max_macs"),
        ({"min_top1": 0.7}, "between 1 and 100"),
        ({"family": "resnets"}, "Did you mean resnet"),
        ({"image": 0}, "image=0"),
        ({"training": True}, "at least 2"),
        ({"max_params": "many"}, "800K, 5M"),
    ],
)
def test_a_budget_that_nothing_fits_says_what_comes_nearest(words: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        convista.pick(**words)


def test_claims_of_courses_are_counted_and_the_wrong_ones_contradicted() -> None:
    found = {claim.subject: claim for claim in claims()}
    text = " ".join(claim.counted + claim.remark for claim in found.values())
    for figure in ("102,760,448", "49 and 27", "9 and 3.25", "4.195", "120,422,400", "12,443,648", "153,600",
                   "854,196,224", "271,351,808", "86,704,128"):  # fmt: skip
        assert figure in text
    assert [claim.right for claim in found.values()] == [True, True, True, True, False, True, True, False]


def test_networks_stand_beside_each_other_by_name_or_by_stride() -> None:
    a, b = convista.cost("resnet18"), convista.cost("mobilenet")
    rows = beside(a, b)
    assert [row.place for row in rows] == ["stride 2", "stride 4", "stride 8", "stride 16", "stride 32", "head"]
    assert sum(row.first[1] for row in rows if row.first) == a.macs
    assert sum(row.second[1] for row in rows if row.second) == b.macs
    assert [row.place for row in beside(a, convista.cost("resnet34"))] == [stage.name for stage in a.stages]


@pytest.mark.parametrize(
    ("model", "image", "said"),
    [
        (nn.Conv2d(3, 8, 3), None, "give image=.C, H, W."),
        (nn.Conv2d(3, 8, 3), (4, 8, 8), "cannot take an input of 4x8x8"),
        (nn.Conv2d(3, 8, 3), (3, 0, 8), "shape of one input"),
        ("resnet18", "big", "side in pixels"),
        ("vgg16", 8, "smallest picture"),
        ("resnet19", None, "resnet18"),
        (nn.LazyConv2d(3, 3), (3, 8, 8), "run the network once"),
    ],
)
def test_what_cannot_be_priced_says_why(model: object, image: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        convista.cost(model, image=image)  # type: ignore[arg-type]


def test_a_block_costs_what_its_formula_says() -> None:
    assert convista.cost(Conv(32, 3, norm=None, act=None), image=(16, 10, 10)).macs == 9 * 16 * 32 * 100
    assert convista.cost(SqueezeExcite(4), image=(16, 10, 10)).macs == 2 * 16 * 4


@pytest.mark.parametrize("training", [True, False])
def test_shapes_worked_out_at_once_are_those_of_real_numbers(training: bool) -> None:
    """Forward and backward, operation by operation."""
    x, y = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    weight = (torch.ones(3), torch.zeros(3), torch.zeros(3), torch.ones(3))
    statistics = (torch.zeros(3), torch.ones(3))
    aten = torch.ops.aten
    cases = {
        aten.native_batch_norm.default: (x, *weight, training, 0.1, 1e-5),
        aten.native_batch_norm_backward.default: (
            x, y, weight[0], *weight[2:], *statistics, training, 1e-5, [True, True, False],
        ),
        aten.relu.default: (x,), aten.silu.default: (x,), aten.sigmoid.default: (x,), aten.hardtanh.default: (x, 0, 6),
        aten.threshold_backward.default: (x, y, 0), aten.add.Tensor: (x, y), aten.mul.Tensor: (x, y),
        aten.cat.default: ([x, x[:, :2], y], 1),
    }  # fmt: skip
    assert set(cases) == set(shapes.RULES)

    def meta(value: object) -> object:
        return [meta(v) for v in value] if isinstance(value, list) else getattr(value, "to", lambda _: value)("meta")

    def described(out: object) -> list[object]:
        parts = out if isinstance(out, tuple) else (out,)
        return [part if part is None else (part.shape, part.dtype) for part in parts]

    for operation, args in cases.items():
        assert described(shapes.shaped(operation, tuple(meta(a) for a in args))) == described(operation(*args)), (
            operation
        )
    assert shapes.shaped(aten.add.Tensor, (x.to("meta"), y[:1].to("meta"))) is None
    assert shapes.shaped(aten.cat.default, ([x.to("meta"), x[:1].to("meta")], 1)) is None
    assert shapes.shaped(aten.relu.default, (x,)) is None
