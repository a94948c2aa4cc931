"""The networks are their papers': counted exactly, equal to their public twins, and ordinary modules."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn

import convista
from convista.blocks import IN, Add, Chain, Conv, Flatten, Head, Linear, Pool, Residual, SparseConv2d, Spec
from convista.errors import InputError, UnknownNameError
from convista.models import NETWORKS
from convista.models.lenet import TABLE_1

PARAMETERS = {
    "lenet5": 61_706, "lenet5_sparse": 60_000, "alexnet": 60_965_224, "alexnet_owt": 61_100_840, "zfnet": 62_357_608,
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840, "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992, "vgg19_bn": 143_678_248,
    "googlenet": 6_998_552, "googlenet_tv": 6_624_904, "inception_v3": 23_834_568, "inception_resnet_v2": 55_843_464,
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "resnet50_v1": 25_557_032, "resnet101_v1": 44_549_160, "resnet152_v1": 60_192_808,
    "resnet50_v2": 25_549_352, "resnet101_v2": 44_541_480, "resnet152_v2": 60_185_128,
    "resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962,
    "resnet1202": 19_421_274, "resnet20_plain": 269_722, "resnet56_plain": 853_018, "resnet110_plain": 1_727_962,
    "resnext50_32x4d": 25_028_904, "resnext101_32x4d": 44_177_704, "resnext101_64x4d": 83_455_272,
    "resnext101_32x8d": 88_791_336, "densenet121": 7_978_856, "densenet161": 28_681_000, "densenet169": 14_149_480,
    "densenet201": 20_013_928, "densenet40": 1_019_722, "densenet_bc100": 769_162, "xception": 22_855_952,
    "mobilenet": 4_231_976, "mobilenet_075": 2_585_560, "mobilenet_050": 1_331_592, "mobilenet_025": 470_072,
    "mobilenet_v2": 3_504_872, "mobilenet_v2_035": 1_677_128, "mobilenet_v2_050": 1_968_680,
    "mobilenet_v2_075": 2_636_424, "mobilenet_v2_130": 5_386_792, "mobilenet_v2_140": 6_108_776,
    "nasnet_mobile": 5_289_978, "nasnet_large": 88_753_150,
    "efficientnet_b0": 5_288_548, "efficientnet_b1": 7_794_184, "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232, "efficientnet_b4": 19_341_616, "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704, "efficientnet_b7": 66_347_960,
}  # fmt: skip
# As others counted them, with as many digits as they print.
MACS = {
    "lenet5": "416520", "alexnet": "724406816", "alexnet_owt": "714188480", "zfnet": "1.168e9",
    "vgg11": "7.609e9", "vgg13": "11.308e9", "vgg16": "15.470e9", "vgg19": "19.632e9",
    "googlenet": "1582671872", "googlenet_tv": "1498376192", "inception_v3": "5713216096",
    "inception_resnet_v2": "13.156e9", "mobilenet_v2": "300774272", "resnet18": "1814073344",
    "resnet34": "3663761408", "resnet50": "4089184256", "resnet101": "7801405440", "resnet152": "11513626624",
    "resnet50_v1": "3.858e9", "resnet101_v1": "7.570e9", "resnet152_v1": "11.282e9",
    "resnet50_v2": "4.089e9", "resnet101_v2": "7.801e9", "resnet152_v2": "11.514e9",
    "resnet20": "40551040", "resnet32": "68862592", "resnet44": "97174144", "resnet56": "125485696",
    "resnet110": "252887680", "resnet1202": "2829.2e6", "resnext50_32x4d": "4.230e9", "resnext101_32x4d": "7.970e9",
    "resnext101_64x4d": "15.460e9", "resnext101_32x8d": "16.414e9", "densenet121": "2.834e9", "densenet169": "3.360e9",
    "densenet201": "4.291e9", "densenet161": "7.728e9", "densenet40": "264.8e6", "xception": "8.357e9",
    "mobilenet": "568.74e6", "mobilenet_075": "325.4e6", "mobilenet_050": "149.5e6", "mobilenet_025": "41.0e6",
    "nasnet_mobile": "563.64e6", "nasnet_large": "23.783e9", "efficientnet_b0": ".3858e9", "efficientnet_b1": ".6868e9",
    "efficientnet_b2": ".9936e9", "efficientnet_b3": "1.827e9", "efficientnet_b4": "4.394e9",
    "efficientnet_b5": "10.266e9", "efficientnet_b6": "19.068e9", "efficientnet_b7": "37.746e9",
}  # fmt: skip


def test_every_network_is_counted() -> None:
    assert set(PARAMETERS) == set(NETWORKS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_papers(name: str) -> None:
    assert sum(p.numel() for p in convista.spec(name).layers[-1].module.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_are_the_papers(name: str) -> None:
    cost = convista.cost(name)
    assert cost.params == sum(row.params for row in cost.rows) == PARAMETERS[name]
    assert cost.uncounted == ()
    digits, _, power = MACS[name].partition("e")
    places = len(digits.partition(".")[2])
    assert f"{cost.macs / 10 ** int(power or 0):.{places}f}" == f"{float(digits):.{places}f}"
    assert cost.macs == sum(row.macs for row in cost.rows) == sum(stage.macs for stage in cost.stages)


def test_lenet_connections_are_the_340_908_of_the_paper() -> None:
    """The paper counts each weight and each bias at each position, and four inputs and a bias for a subsampled unit."""
    cost = convista.cost(convista.spec("lenet5_sparse"))
    shape = {stage.name: stage.shape for stage in cost.stages}
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


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_and_classes_are_free(channels: int) -> None:
    net = convista.create("resnet18", classes=5, channels=channels).eval()
    assert net(torch.zeros(1, channels, 40, 33)).shape == (1, 5)


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
    assert Chain(f=Flatten(), d=Linear(3)).out(6) == 3


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
