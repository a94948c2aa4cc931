"""The blocks are what their papers say: each against a second, plain version, and by its closed-form count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convista.blocks import (
    IN,
    Act,
    Auxiliary,
    Block,
    Branches,
    Cell,
    Cells,
    Chain,
    Conv,
    Dense,
    DoesNotFitError,
    Dropout,
    Flatten,
    Head,
    Linear,
    LocalResponseNorm,
    Norm,
    Pool,
    Residual,
    SqueezeExcite,
    block_from_json,
)
from convista.blocks.base import Reach
from convista.errors import InputError, UnknownNameError
from convista.models import gallery

BARE = {"norm": None, "act": None, "bias": False}


def weights(block: Block, width: int) -> int:
    """The weights of convolutions and linear layers, biases and norms left out."""
    return sum(p.numel() for p in block(width).parameters() if p.ndim > 1)


def test_costs_are_the_closed_forms_of_the_papers() -> None:
    c = 64
    assert weights(Conv(c, 7, **BARE), c) == 49 * c * c
    assert weights(Chain(a=Conv(c), b=Conv(c), c=Conv(c)), c) == 27 * c * c
    assert weights(gallery.factorised(c, 7), c) == 2 * 7 * c * c
    assert weights(gallery.separable(c), c) == 9 * c + c * c
    assert weights(gallery.bottleneck(c), 4 * c) == 17 * c * c
    assert weights(gallery.bottleneck(128, groups=32), 512) == (2 * 4 + 9 / 32) * 128 * 128
    assert weights(gallery.inverted(c), c) == 6 * c * c + 9 * 6 * c + 6 * c * c
    assert weights(gallery.dense_layer(12), c) == c * 48 + 9 * 48 * 12
    assert weights(SqueezeExcite((1 / 16) * IN), c) == 2 * c * c // 16
    assert weights(gallery.naive_inception(Conv, 64, 128, 32), 192) == 192 * (64 + 9 * 128 + 25 * 32)
    one, three, five = 64, 96 + 9 * 96 * 128 / 192, 16 + 25 * 16 * 32 / 192
    assert weights(gallery.inception(Conv, 5, (64, 96, 128, 16, 32, 32)), 192) == 192 * (one + three + five + 32)


def test_branches_are_concatenated_in_their_order() -> None:
    block = Branches(a=Conv(3, 1), b=Pool(3, 1), c=Chain(reduce=Conv(2, 1), conv=Conv(5, 3)))
    net = block(4).eval()
    x = torch.randn(2, 4, 7, 9)
    assert torch.equal(net(x), torch.cat([net.a(x), net.b(x), net.c(x)], 1))
    assert net(x).shape[1] == block.out(4) == 12
    assert block.text() == "1x1, 3 | 3x3 max pool | 1x1, 2; 3x3, 5"
    with pytest.raises(DoesNotFitError, match="branches make maps of different sizes"):
        Branches(a=Conv(3, 3, padding=0), b=Conv(3, 3)).size((8, 8))
    with pytest.raises(InputError, match="cannot be named 'concat'"):
        Branches(concat=Conv(3))(3)


def test_dense_keeps_its_input_in_front() -> None:
    net = Dense(Chain(conv=Conv(5, order="norm act conv", bias=False)))(4).eval()
    x = torch.randn(2, 4, 6, 6)
    y = net(x)
    assert torch.equal(y[:, :4], x)
    assert torch.equal(y[:, 4:], net.conv.conv(net.conv.norm(x).relu()))


def test_pre_activation_is_seen_by_the_projection_and_not_by_the_identity() -> None:
    """Figure 4e of He et al. 2016, written out."""
    x = torch.randn(2, 16, 6, 6)
    same, wider = gallery.preactivation(4)(16).eval(), gallery.preactivation(8)(16).eval()

    def body(net: nn.Module, h: Tensor) -> Tensor:
        return net.expand(net.conv(net.reduce(h)))

    assert torch.allclose(same(x), body(same, F.relu(same.pre.norm(x))) + x)
    h = F.relu(wider.pre.norm(x))
    assert torch.allclose(wider(x), body(wider, h) + wider.shortcut(h))


def test_a_scaled_residual_adds_a_fraction() -> None:
    net = Residual(Chain(conv=Conv(IN, 3, norm=None, act=None)), act=None, scale=0.17)(4)
    x = torch.randn(1, 4, 5, 5)
    assert torch.allclose(net(x), 0.17 * net.conv(x) + x)


def test_squeeze_excite_is_equation_3() -> None:
    net = SqueezeExcite(2)(8)
    x = torch.randn(2, 8, 5, 5)
    s = F.relu(F.linear(x.mean((2, 3)), net.squeeze.conv.weight.flatten(1), net.squeeze.conv.bias))
    e = torch.sigmoid(F.linear(s, net.excite.conv.weight.flatten(1), net.excite.conv.bias))
    assert torch.allclose(net(x), x * e[:, :, None, None], atol=1e-6)


def test_local_response_norm_is_section_3_3() -> None:
    """The sum over neighbouring channels, written out; alpha multiplies the sum, not the mean."""
    x = 20 * torch.randn(1, 9, 3, 3)
    expected = torch.empty_like(x)
    for i in range(9):
        near = x[:, max(0, i - 2) : i + 3].square().sum(1)
        expected[:, i] = x[:, i] / (2 + 1e-4 * near) ** 0.75
    assert torch.allclose(LocalResponseNorm()(9)(x), expected, atol=1e-5)


def test_grouped_and_depthwise_convolutions_do_not_mix() -> None:
    x = torch.randn(1, 6, 5, 5, requires_grad=True)
    Conv(6, 3, groups=3, **BARE)(6)(x)[:, :2].sum().backward()
    assert x.grad is not None
    assert x.grad[:, 2:].abs().sum() == 0
    assert Conv(IN, 3, groups=IN, **BARE)(6).conv.weight.shape == (6, 1, 3, 3)


def test_same_padding_is_tensorflows() -> None:
    """One more row and column at the end where the total is odd; a mean may leave the padding out."""
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    conv = Conv(1, 3, 2, padding="same", **BARE)(1)
    nn.init.ones_(conv.conv.weight)
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), torch.ones(1, 1, 3, 3), stride=2)
    assert torch.equal(conv(x), expected)
    odd = torch.arange(49.0).reshape(1, 1, 7, 7)
    assert torch.equal(conv(odd), F.conv2d(odd, torch.ones(1, 1, 3, 3), stride=2, padding=1))
    mean = Pool(3, 2, "average", "same", count_padding=False)(1)
    assert mean(torch.ones(1, 1, 6, 6)).eq(1).all()
    assert Pool(3, 2, padding="same", count_padding=False)(1)(-torch.ones(1, 1, 6, 6)).eq(-1).all()
    for side in range(1, 9):
        for block in (Conv(1, 3, 2, padding="same"), Pool(3, 2, padding="same"), Pool(3, 2, ceil_mode=True, padding=0)):
            if side > 2:
                assert block(1).eval()(torch.zeros(1, 1, side, side)).shape[2:] == block.size((side, side))


@pytest.mark.parametrize("kind", ["max", "average"])
def test_pools_measure_and_dilate(kind: str) -> None:
    x = torch.randn(1, 2, 13, 13)
    for pool in (Pool(3, 2, kind), Pool(2, kind=kind), Pool(3, 2, kind, padding=0, ceil_mode=True)):
        if kind == "average" and pool.ceil_mode:
            continue
        plain = pool(2)(x)
        dense = pool.dilated(Reach(1))[0]
        assert torch.allclose(dense(2)(x)[:, :, ::2, ::2][:, :, : plain.shape[2], : plain.shape[3]], plain, atol=1e-6)


def test_an_activation_overwrites_only_what_nobody_else_needs() -> None:
    """In front of a shared input, behind another activation or a dropout it makes a new tensor."""
    act_first = Conv(4, order="act conv norm")
    chains = [
        Chain(a=Conv(4, act=None), b=act_first), Chain(a=Conv(4), b=act_first), Chain(a=Dropout(0.0), b=act_first),
        Chain(a=Conv(4), d=Dropout(0.5), b=Conv(4), c=Act()), Chain(a=act_first, b=act_first),
        Chain(a=Norm(), b=Act(), c=Act(), d=act_first), Chain(r=Residual(Chain(c=Conv(4))), b=act_first),
    ]  # fmt: skip
    for chain in chains:
        net = Residual(chain, act=None)(4).double().eval()
        x = torch.randn(1, 4, 5, 5, dtype=torch.double)
        before = x.clone()
        net(x)
        assert torch.equal(x, before)
        net.train()(x.requires_grad_()).sum().backward()
    inplace = {
        name for name, m in Chain(a=Conv(4, act=None), b=act_first)(4).named_modules() if getattr(m, "inplace", 0)
    }
    assert inplace == {"b.act"}


def test_heads_pool_by_mean_or_by_maximum() -> None:
    x = torch.randn(2, 4, 3, 3)
    for kind, pooled in (("average", x.mean((2, 3))), ("max", x.amax((2, 3)))):
        net = Head(5, pool=kind)(4)
        assert torch.allclose(net(x), net.linear(pooled), atol=1e-6)
    with pytest.raises(UnknownNameError, match="no pooling named 'mean'"):
        Head(5, pool="mean")(4)


def test_an_auxiliary_head_lets_its_map_pass() -> None:
    net = Auxiliary(Chain(flatten=Flatten(2), out=Linear(3, act=None)), 0.4)(4)
    x = torch.randn(2, 4, 2, 2)
    assert net(x) is x
    assert net.answer(x).shape == (2, 3)


def test_a_cell_is_its_rows() -> None:
    """Of a cell of poolings and identities each sum can be written down."""
    rows = (("average 3x3", "current", "identity", "previous"), ("max 3x3", "row1", "identity", "current"))
    cells = Cells(a=Cell(4, rows, ("row1", "row2")), b=Cell(4, rows, ("previous", "row1", "row2")))
    net = cells(4).eval()  # the first cell takes the map before it as it is
    x = torch.randn(1, 4, 6, 6)
    current = net.a.current(x)
    row1 = F.avg_pool2d(current, 3, 1, 1, count_include_pad=False) + x
    row2 = F.max_pool2d(row1, 3, 1, 1) + current
    assert torch.allclose(net.a(x, x), torch.cat([row1, row2], 1), atol=1e-6)
    assert torch.equal(net(x), net.b(net.a(x, x), x))
    assert cells.out(4) == 12


def test_blocks_survive_json() -> None:
    blocks = [
        Conv(8, (1, 7), order="norm act conv", dilation=2), Pool(3, 2, padding="same"), SqueezeExcite((1 / 24) * IN),
        Branches(a=Conv(3), b=Dense(Chain(c=Conv(4)))), gallery.nasnet_reduction(8), Auxiliary(Chain(h=Head(3)), 0.1),
        gallery.preactivation(8), LocalResponseNorm(), Dropout(0.1), Norm(1e-3), Act("silu"), Flatten(3),
    ]  # fmt: skip
    for block in blocks:
        assert block_from_json(block.to_json()) == block
    assert block_from_json({"block": "Dense", "width": 10}) == Linear(10)  # version 0.1 called it so


@pytest.mark.parametrize("name", gallery.__all__)
def test_every_block_of_the_gallery_is_documented(name: str) -> None:
    made = getattr(gallery, name)
    assert (made.__doc__ or "").strip()


def test_texts_close_their_brackets() -> None:
    inner = Residual(Chain(**{f"conv{i}": gallery.xception_separable(8) for i in range(3)}), act=None)
    text = Chain(a=inner, b=inner).text()
    assert text.count("[") == text.count("]")
    assert text.endswith("x 2")


@pytest.mark.parametrize("padding", [1, "same"])
def test_a_strided_depthwise_convolution_learns_in_bfloat16_what_it_learns_in_float32(padding: int | str) -> None:
    torch.manual_seed(0)
    net = Conv(IN, 3, 2, groups=IN, padding=padding, **BARE)(6)
    x = torch.randn(2, 6, 9, 9)
    found = []
    for fast in (False, True):
        net.zero_grad()
        seen = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            y = net(seen)
        y.float().square().sum().backward()
        found.append((y, seen.grad, *(p.grad.clone() for p in net.parameters())))
    assert found[1][0].dtype == torch.bfloat16
    for exact, rounded in zip(*found, strict=True):
        torch.testing.assert_close(rounded.float(), exact, rtol=2e-2, atol=2e-2)


def test_in_float32_a_convolution_is_that_of_pytorch_to_the_last_bit() -> None:
    ours = Conv(IN, 3, 2, groups=IN, padding=1, **BARE)(6)
    (layer,) = (m for m in ours.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(2, 6, 9, 9)
    assert torch.equal(ours(x), F.conv2d(x, layer.weight, None, 2, 1, 1, 6))
    assert str(layer).startswith("Conv2d(6, 6, ")
