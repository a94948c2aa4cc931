"""The networks are their papers': counted exactly, equal to their public twins, and ordinary modules."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torchvision
from torch import Tensor, nn

import convista
from convista.blocks import IN, Add, Chain, Conv, Dense, Flatten, Head, Pool, Residual, Spec
from convista.errors import InputError, UnknownNameError, WeightsError
from convista.models import NETWORKS, load_weights, save_weights
from convista.models.lenet import TABLE_1, SparseConv2d

PARAMETERS = {
    "lenet5": 61_706, "lenet5_sparse": 60_000, "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962,
    "resnet20_plain": 269_722, "resnet56_plain": 853_018, "resnet110_plain": 1_727_962,
}  # fmt: skip
MACS = {
    "lenet5": 416_520, "mobilenet_v2": 300_774_272, "resnet18": 1_814_073_344, "resnet34": 3_663_761_408,
    "resnet50": 4_089_184_256, "resnet101": 7_801_405_440, "resnet152": 11_513_626_624,
    "resnet20": 40_551_040, "resnet32": 68_862_592, "resnet44": 97_174_144, "resnet56": 125_485_696,
    "resnet110": 252_887_680,
}  # fmt: skip
TWINS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2"]


def twins(name: str) -> tuple[nn.Module, nn.Module]:
    """Ours with the weights of torchvision's, whose batch statistics are random so that they matter."""
    torch.manual_seed(7)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=10)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    ours = convista.create(name, classes=10)
    state = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), state, strict=True)))
    return ours, theirs


def test_every_network_is_counted() -> None:
    assert set(PARAMETERS) == set(NETWORKS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_papers(name: str) -> None:
    with torch.device("meta"):
        net = convista.spec(name)()
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]
    assert convista.price(convista.spec(name)).params == PARAMETERS[name]


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_are_the_papers(name: str) -> None:
    cost = convista.price(convista.spec(name))
    assert cost.macs == MACS[name]
    assert sum(row.macs for row in cost.rows) == cost.macs


def test_lenet_connections_are_the_340_908_of_the_paper() -> None:
    """The paper counts each weight and each bias at each position, and four inputs and a bias for a subsampled unit."""
    cost = convista.price(convista.spec("lenet5_sparse"))
    shape = {row.name: row.shape for row in cost.rows}
    units = {name: torch.Size(shape[name]).numel() for name in shape}
    biases = sum(units[name] for name in ("c1", "c3", "c5", "f6"))
    subsampled = sum(units[name] * 5 for name in ("s2", "s4"))
    assert cost.macs + biases + subsampled + 84 * 10 == 340_908


def test_sparse_c3_sees_what_table_1_marks() -> None:
    conv = SparseConv2d(TABLE_1, 5)
    nn.init.normal_(conv.weight)
    x = torch.randn(2, 6, 14, 14)
    rows = []
    for out in range(16):
        inputs = [i for i in range(6) if TABLE_1[i][out] == "X"]
        kernels = [k for k, (o, _) in zip(conv.weight, conv.links, strict=True) if o == out]
        assert len(kernels) == len(inputs)
        maps = [
            nn.functional.conv2d(x[:, i : i + 1], kernel[None, None]) for i, kernel in zip(inputs, kernels, strict=True)
        ]
        rows.append(sum(maps) + conv.bias[out])
    assert torch.allclose(conv(x), torch.cat(rows, 1), atol=1e-5)
    assert [sum(row[c] == "X" for row in TABLE_1) for c in range(16)] == [3] * 6 + [4] * 9 + [6]


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("training", [False, True])
def test_outputs_equal_torchvisions(name: str, training: bool) -> None:
    ours, theirs = twins(name)
    x = torch.randn(2, 3, 65, 97)
    for net in (ours, theirs):
        net.train(training)
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    with torch.no_grad():
        a, b = ours(x), theirs(x)
    assert torch.allclose(a, b, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_gradients_equal_torchvisions(name: str) -> None:
    ours, theirs = twins(name)
    x = torch.randn(2, 3, 64, 64)
    for net in (ours, theirs):
        net.eval()
        net(x).square().sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, atol=1e-4 * max(1.0, float(b.grad.abs().max())))


def test_option_a_pads_with_zeros_and_takes_every_second_position() -> None:
    net = convista.create("resnet20")
    x = torch.randn(1, 16, 8, 8)
    y = net.get_submodule("conv3_x.block1.shortcut")(x)
    assert y.shape == (1, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_plain_networks_have_no_sum() -> None:
    assert not [m for m in convista.create("resnet56_plain").modules() if isinstance(m, Add)]
    assert len([m for m in convista.create("resnet56").modules() if isinstance(m, Add)]) == 27


@pytest.mark.parametrize("name", NETWORKS)
def test_a_spec_survives_json_and_prints_its_rows(name: str) -> None:
    spec = convista.spec(name, classes=7)
    assert Spec.from_json(spec.to_json()) == spec
    assert spec.classes == 7
    printed = str(spec).splitlines()
    assert [line.split()[0] for line in printed[3:-1]] == [row for row, _ in spec.table.rows]


def test_the_printed_table_is_table_1() -> None:
    printed = str(convista.spec("resnet50"))
    assert "conv4_x  1024 x 14 x 14  [1x1, 256; 3x3, 256; 1x1, 1024] x 6, stride 2" in printed


def test_layers_are_found_by_glob() -> None:
    net = convista.create("resnet18")
    assert list(net.layers("conv4_x.*.act")) == [
        "conv4_x.block1.conv1.act", "conv4_x.block1.act", "conv4_x.block2.conv1.act", "conv4_x.block2.act",
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="conv6"):
        net.layers("conv6_x.*")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_activation_and_sum_is_a_module_of_its_own(name: str) -> None:
    with torch.device("meta"):
        net = convista.spec(name)()
    assert len(list(net.modules())) == len(list(net.named_modules(remove_duplicate=False)))


@pytest.mark.parametrize("name", ["lenet5", "lenet5_sparse", "resnet20", "resnet20_plain", "resnet18", "mobilenet_v2"])
def test_a_network_is_an_ordinary_module(name: str) -> None:
    spec = convista.spec(name, classes=4)
    net = spec().eval()
    x = torch.randn(1, spec.channels, spec.image, spec.image)

    def same(other: nn.Module) -> bool:
        return torch.allclose(other(x), net(x), atol=1e-5)

    assert same(copy.deepcopy(net))
    assert same(pickle.loads(pickle.dumps(net)))
    assert same(torch.export.export(net, (x,)).module())
    assert same(copy.deepcopy(net).to(memory_format=torch.channels_last))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_and_classes_are_free(channels: int) -> None:
    net = convista.create("resnet18", classes=5, channels=channels).eval()
    assert net(torch.zeros(1, channels, 40, 33)).shape == (1, 5)


def test_weights_come_back_from_a_file(tmp_path) -> None:
    net = convista.create("lenet5", classes=3)
    save_weights(net, tmp_path / "w.safetensors")
    again = convista.create("lenet5", classes=3, weights=tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_weights_that_do_not_fit_are_refused_whole(tmp_path) -> None:
    save_weights(convista.create("lenet5", classes=3), tmp_path / "w.safetensors")
    net = convista.create("lenet5")
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(WeightsError, match=r"2 of another shape: output\.linear\.bias"):
        load_weights(net, tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    (tmp_path / "p.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        load_weights(net, tmp_path / "p.safetensors")
    with pytest.raises(WeightsError, match="no weights file"):
        load_weights(net, tmp_path / "none")


def test_wrong_words_are_explained() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean resnet18"):
        convista.create("resnet81")
    with pytest.raises(InputError, match="cannot take pictures of 8x8"):
        convista.spec("lenet5", image=8)
    with pytest.raises(InputError, match="classes=0 was given"):
        convista.create("resnet18", classes=0)
    with pytest.raises(InputError, match="classes='3' was given"):
        convista.create("resnet18", classes="3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="width of 0"):
        Conv(0)(3)
    own = Spec("own", Chain(conv=Conv(4), head=Head(3)), image=8)
    assert convista.create(own)(torch.zeros(1, 3, 8, 8)).shape == (1, 3)
    with pytest.raises(InputError, match="has 3 classes"):
        convista.create(own, classes=5)
    with pytest.raises(InputError, match="3 groups do not divide"):
        Conv(8, 3, groups=3)(6)
    with pytest.raises(InputError, match="not a network's table"):
        Spec.from_json("{}")
    with pytest.raises(InputError, match="cannot have a row named 'act'"):
        Residual(Chain(act=Conv(4)))(4)
    with pytest.raises(InputError, match="cannot lead from 8 to 4"):
        Residual(Chain(conv=Conv(4)), shortcut="pad")(8)


def test_blocks_measure_themselves() -> None:
    """`out` and `reduction` say what the built module does."""
    blocks = [
        Conv(8, 3, 2), Conv(2 * IN, 1), Conv(IN, 3, groups=IN), Pool(2), Pool(3, 2, "average"),
        Chain(a=Conv(4), b=Pool(2)), Residual(Chain(a=Conv(12, 3, 2))),
    ]  # fmt: skip
    for block in blocks:
        y = block(6)(torch.zeros(1, 6, 16, 16))
        assert y.shape == (1, block.out(6), 16 // block.reduction(), 16 // block.reduction())
    assert Chain(f=Flatten(), d=Dense(3)).out(6) == 3


def test_residual_is_body_plus_shortcut() -> None:
    """A twin written from equation 2 of the paper."""
    block = Residual(Chain(conv=Conv(6, 3, act=None)))(6).eval()

    def twin(x: Tensor) -> Tensor:
        return torch.relu(block.get_submodule("conv")(x) + x)

    x = torch.randn(2, 6, 5, 5)
    assert torch.equal(block(x.clone()), twin(x))


def test_looking_at_shapes_leaves_no_trace() -> None:
    net = convista.create("resnet20").train()
    net.conv1.eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    convista.blocks.shapes(net, (3, 32, 32))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert net.training
    assert not net.conv1.training
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.save(net.state_dict(), io.BytesIO()) is None
