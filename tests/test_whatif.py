"""A changed table costs what its formula foresees, and builds and trains like any other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convista
from convista.errors import InputError
from convista.pricing import changed, changes_of, what_if

CHANGES = [
    ("resnet18", {"conv": "separable"}), ("resnet50_v2", {"conv": "separable"}), ("vgg16", {"conv": "separable"}),
    ("lenet5", {"conv": "separable"}), ("resnet50", {"groups": 32}), ("densenet121", {"groups": 4}),
    ("resnet18", {"bottleneck": 2}), ("resnet50_v2", {"bottleneck": 4}), ("inception_v3", {"bottleneck": 4}),
    ("resnet18", {"kernel7": "3x3x3"}), ("lenet5", {"kernel5": "3x3x2"}), ("googlenet", {"kernel5": "3x3x2"}),
    ("resnet20", {"conv": "separable"}), ("resnet20", {"norm": "none"}), ("resnet50_v2", {"norm": "none"}),
    ("densenet121", {"norm": "none"}), ("xception", {"norm": "none"}), ("vgg16_bn", {"norm": "none"}),
    ("resnet18", {"act": "tanh"}), ("efficientnet_b0", {"act": "relu"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_formula_foresees_what_the_changed_network_costs(name: str, change: dict[str, object]) -> None:
    found = what_if(name, change)
    saving = found.savings[0]
    assert (saving.params, saving.macs) == (found.after.params, found.after.macs)


@pytest.mark.parametrize("change", [
    {"conv": "separable"}, {"groups": 32}, {"bottleneck": 4}, {"kernel7": "3x3x3"}, {"width": 0.5}, {"depth": 2},
    {"image": 64}, {"act": "tanh"}, {"norm": "none"}, {"norm": "none", "conv": "separable", "act": "silu"},
    {"conv": "separable", "width": 0.25, "image": 48},
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


def test_another_activation_stands_everywhere_but_in_gates() -> None:
    kinds = {type(m) for m in convista.create(what_if("efficientnet_b0", act="tanh").spec).modules()}
    assert {nn.Tanh, nn.Sigmoid} <= kinds
    assert nn.SiLU not in kinds
    net = convista.create(what_if("resnet50_v2", act="relu6").spec)
    assert {type(m) for name, m in net.layers("*.act").items()} == {nn.ReLU6}


def test_without_normalisation_every_convolution_has_its_bias_but_a_projection() -> None:
    net = convista.create(what_if("resnet50", norm="none").spec)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    without = {name for name, m in net.named_modules() if isinstance(m, nn.Conv2d) and m.bias is None}
    assert without == {name for name, _ in net.named_modules() if name.endswith("shortcut.conv")}


def test_changes_can_be_written_as_one_text() -> None:
    assert changes_of(" conv=separable, act=tanh ") == [("conv", "separable"), ("act", "tanh")]
    assert changes_of("") == []
    spec = convista.spec("resnet20")
    assert changed(spec, changes_of("conv=separable,act=tanh")) == what_if(spec, conv="separable", act="tanh").spec
    for text in ("conv", "conv=", "=tanh", "conv=separable,,act=tanh"):
        with pytest.raises(InputError, match="expected CHANGE=VALUE"):
            changes_of(text)


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
        ("resnet20", {"kernel3": "2x2x2"}, "no centre"),
        ("resnet20", {"act": "tahn"}, "Did you mean tanh"),
        ("resnet20", {"act": "relu"}, "changes nothing"),
        ("resnet20", {"norm": "layer"}, "Known: none"),
        ("vgg16", {"norm": "none"}, "changes nothing"),
        ("nasnet_mobile", {"norm": "none"}, "its Cell has a normalisation of its own"),
        ("lenet5_sparse", {"act": "relu"}, "its SparseConv has an activation of its own"),
        ("resnet18", {"width": 1e9}, "below 64"),
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
