"""What fits a budget, what a budget buys, and what courses claim."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import convista
from convista.blocks import Conv, SqueezeExcite
from convista.errors import InputError
from convista.pricing import beside, claims, shapes, what_if


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
    [
        ({}, "name a budget"),
        ({"max_macs": "9G", "alpha": 1, "beta": 1, "gamma": 1}, "Nothing grows"),
        ({"max_macs": "10"}, "no scaling brings it down"),
        ({"max_macs": "x"}, "800K, 5M"),
        ({"max_macs": "1G", "alpha": 0.1}, "between 1 and 2"),
    ],
)
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
    found = convista.pick(say=said.append, family="mobilenet", max_params="2M", max_ms=60_000)
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
    filters, wide = torch.randn(4, 3, 3, 2), torch.randn(1, 2, 4, 5, 4)
    cases = {
        aten.convolution.default: (x, filters, None, [2, 1], [1, 0], [1, 2], False, [0, 0], 1),
        aten.max_pool2d_with_indices.default: (x, [3, 3], [2, 2], [0, 1], [1, 1], True),
        aten.avg_pool2d.default: (x, [2, 2]), aten.avg_pool3d.default: (wide, [3, 1, 1], [1, 1, 1], [1, 0, 0]),
        aten._adaptive_avg_pool2d.default: (x, [2, 3]), aten.mean.dim: (x, [-1, 2], True),
        aten.addmm.default: (weight[0], x[0, 0], torch.randn(4, 3)), aten.empty_like.default: (x[:, :2],),
        aten.relu_.default: (x,), aten.silu_.default: (x,), aten.hardtanh_.default: (x, 0, 6),
        aten.div_.Scalar: (x, 2.0), aten.div.Tensor: (x, 2.0), aten.tanh.default: (x,),
        aten.pow.Tensor_Scalar: (x, 2),
        aten.native_batch_norm.default: (x, *weight, training, 0.1, 1e-5),
        aten.native_batch_norm_backward.default: (
            x, y, weight[0], *weight[2:], *statistics, training, 1e-5, [True, True, False],
        ),
        aten.relu.default: (x,), aten.silu.default: (x,), aten.sigmoid.default: (x,), aten.hardtanh.default: (x, 0, 6),
        aten.threshold_backward.default: (x, y, 0), aten.add.Tensor: (x, y), aten.mul.Tensor: (x, y[:, :, :1]),
        aten.cat.default: ([x, x[:, :2], y], 1),
    }  # fmt: skip
    assert set(cases) == set(shapes.RULES)

    def meta(value: object) -> object:
        return [meta(v) for v in value] if isinstance(value, list) else getattr(value, "to", lambda _: value)("meta")

    def described(out: object) -> list[object]:
        parts = out if isinstance(out, tuple) else (out,)
        return [part if part is None else (part.shape, part.dtype, part.stride()) for part in parts]

    for operation, args in cases.items():
        assert described(shapes.shaped(operation, tuple(meta(a) for a in args))) == described(operation(*args)), (
            operation
        )
    assert shapes.shaped(aten.add.Tensor, (x.to("meta"), y[:1].mT.to("meta"))) is None
    wrong = (x.to("meta"), filters[:, :2].to("meta"), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    assert shapes.shaped(aten.convolution.default, wrong) is None
    assert shapes.shaped(aten.cat.default, ([x.to("meta"), x[:1].to("meta")], 1)) is None
    assert shapes.shaped(aten.relu.default, (x,)) is None


def test_what_torch_refuses_or_lays_out_otherwise_is_left_to_torch() -> None:
    aten = torch.ops.aten
    x, line = torch.empty(2, 4, 6, 6, device="meta"), torch.empty(3, device="meta")
    for operation, args in [
        (aten.tanh.default, (x[:, :1],)),
        (aten.sigmoid.default, (x.mean((2, 3), keepdim=True).expand(2, 4, 6, 6),)),
        (aten.add.Tensor, (x[:, :2], x[:, 2:])),
        (aten.max_pool2d_with_indices.default, (x, [2, 2], [2, 2], [2, 2])),
        (aten.mean.dim, (x.flatten(2), [2, 3])),
        (aten.mean.dim, (x, [2, -2])),
        (aten.addmm.default, (line, x[0, 0], x[0, 0])),
        (aten.convolution.default, (x, x, None, [1], [0], [1], False, [0], 1)),
        (aten.native_batch_norm.default, (x.half(), None, None, None, None, True, 0.1, 1e-5)),
        (aten.native_batch_norm.default, (x, None, None, None, None, False, 0.1, 1e-5)),
        (aten.pow.Tensor_Scalar, (x, 1j)),
    ]:
        assert shapes.shaped(operation, args) is None, operation
    with pytest.raises(InputError, match="pad should be"):
        convista.cost(nn.MaxPool2d(2, padding=2), image=(3, 8, 8))


def test_parts_of_maps_are_counted_as_what_is_made_of_them() -> None:
    """A function of a part of a map is as large as the part, in memory, too."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.conv(x)[:, :1])

    found = convista.memory(Part(), image=(3, 32, 32), batch=8)
    assert found.activations == 8 * 32 * 32 * 4 * (3 + 1)


def test_the_compiler_is_not_loaded_to_price_a_network() -> None:
    """Loading it takes longer than pricing."""
    said = "import sys, convista; convista.cost('mobilenet_v2'); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
