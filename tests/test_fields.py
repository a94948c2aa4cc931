"""Receptive fields are the published ones, and where gradients are; what is not followed is said."""

from __future__ import annotations

import pytest
import torch
from networks import Made, quickly
from torch import Tensor, nn
from torch.nn import functional as F

import convista
from convista.blocks import Conv, SqueezeExcite
from convista.blocks.windows import SameAvgPool2d, SameMaxPool2d
from convista.errors import UnknownNameError
from convista.pricing import what_if

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


@pytest.mark.parametrize(
    ("net", "size", "known", "everything"),
    [
        (nn.PixelShuffle(1), (3, 3), True, False),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(32, 4, 3)), (8, 8), True, False),
        (nn.GroupNorm(2, 8), (3, 3), True, True),
        (nn.InstanceNorm2d(8), (3, 3), True, True),
        (nn.LayerNorm([8, 14, 14]), (3, 3), True, True),
        (nn.Upsample(scale_factor=0.5), (3, 3), True, False),
        (nn.Upsample(scale_factor=2), (3, 3), True, False),
        (Made(lambda y: y + y.flip(2)), None, False, False),
        (Made(lambda y: y + y.roll(1, 2)), None, False, False),
        (Made(lambda y: y @ y), None, False, False),
        (Made(lambda y: y + y.mT), None, False, False),
        (Made(lambda y: y.flatten(2).softmax(2)), None, False, False),
        (Made(lambda y: y.cumsum(2)), None, False, False),
        (Made(lambda y: torch.zeros_like(y).index_copy(2, torch.arange(14, device=y.device), y)), None, False, False),
        (Made(lambda y: y.mean((2, 3))), None, True, True),
        (Made(lambda y: y.flatten(1)), None, True, True),
        (Made(lambda y: y.permute(0, 2, 3, 1).permute(0, 3, 1, 2)), (3, 3), True, False),
        (nn.Sequential(nn.Conv2d(8, 8, 14), nn.ReLU()), None, True, True),
    ],
)
def test_what_is_not_followed_is_said_to_be_unknown(
    net: nn.Module, size: tuple[int, int] | None, known: bool, everything: bool
) -> None:
    rows = convista.cost(nn.Sequential(nn.Conv2d(3, 8, 3), net), image=(3, 16, 16))
    row = rows.layer("1")
    assert row.receptive_field == size
    assert row.sees_all == everything
    assert known == (size is not None or everything)


def test_what_is_written_into_a_part_of_a_map_is_in_the_map() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            y[:, :, 1:] = y[:, :, :-1].clone()
            return self.conv(y)

    assert convista.cost(Written(), image=(1, 8, 8)).receptive_field is None


def test_a_network_of_tokens_has_no_receptive_field() -> None:
    found = convista.cost("timm:vit_tiny_patch16_224")
    assert (found.receptive_field, found.stride, found.last_map) == (None, None, "")
    assert found.layer("patch_embed.proj").receptive_field == (16, 16)


def test_blocks_have_rows_of_their_own() -> None:
    found = convista.cost("torchvision:googlenet")
    assert found.layer("inception5b").shape == (1024, 7, 7)
    assert found.layer("inception5b").receptive_field == (379, 379)
    assert sum(stage.macs for stage in found.stages) == found.macs
    assert found.layer("inception5b").macs == next(s.macs for s in found.stages if s.name == "inception5b")
    with pytest.raises(UnknownNameError, match="inception5"):
        found.layer("inception5z")


def test_a_gate_and_a_global_view_are_said() -> None:
    net = Conv(8, 3)(3)
    gated = nn.Sequential(net, SqueezeExcite(4)(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    rows = {row.name: row for row in convista.cost(gated, image=(3, 20, 20)).rows}
    assert (rows["1.scale"].receptive_field, rows["1.scale"].sees_all) == ((3, 3), True)
    assert (rows["0.act"].receptive_field, rows["0.act"].sees_all) == ((3, 3), False)
    assert (rows["4"].receptive_field, rows["4"].sees_all) == (None, True)
