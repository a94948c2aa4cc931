"""Prices are exact on any module, leave no trace, and are what the network then costs."""

from __future__ import annotations

import copy
import hashlib
import io

import pytest
import timm
import torch
import torchvision
from networks import Made
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import convista
from convista.errors import InputError


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
    net.register_full_backward_pre_hook(lambda *_: calls.append(1))
    before = fingerprint(net)
    convista.cost(net, image=(3, 16, 16))
    convista.memory(net, image=(3, 16, 16), batch=4)
    assert fingerprint(net) == before
    assert calls == []
    convista.measure(net, image=(3, 16, 16), seconds=0.01)
    assert fingerprint(net) == before


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


def test_several_inputs_are_given_as_examples() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.conv, self.out = nn.Embedding(10, 8), nn.Conv2d(3, 8, 3), nn.Linear(8, 2)

        def forward(self, picture: Tensor, word: Tensor) -> Tensor:
            return self.out(self.conv(picture).mean((2, 3)) + self.embed(word))

    picture, word = torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.long)
    for inputs in ((picture, word), {"picture": picture, "word": word}):
        assert convista.cost(Two(), inputs=inputs).macs == 36 * 8 * 27 + 16
    with pytest.raises(InputError, match="holds no tensor"):
        convista.cost(Two(), inputs=())


def test_any_network_of_another_library_is_priced_as_it_comes(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert convista.cost("torchvision:fcn_resnet50", image=64).layer("classifier").shape == (21, 8, 8)
    with torch.device("meta"):
        own = timm.create_model("vit_small_patch14_dinov2")
    assert convista.cost("timm:vit_small_patch14_dinov2").params == sum(p.numel() for p in own.parameters())
    (tmp_path / "mine_of_cost.py").write_text(
        "from torch import nn\n"
        "def decoder(): return nn.ConvTranspose2d(3, 4, 2, 2)\n"
        "def bad(): raise ValueError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert convista.cost("mine_of_cost:decoder", image=8).macs == 3 * 64 * 16
    with pytest.raises(InputError, match="ValueError: no"):
        convista.cost("mine_of_cost:bad")


@pytest.mark.parametrize("thing", [None, 3, nn.Conv2d, [1]])
def test_what_is_no_network_is_refused(thing: object) -> None:
    with pytest.raises(InputError, match="expected a name, a run folder, a Spec"):
        convista.cost(thing)  # type: ignore[arg-type]


def test_inference_mode_around_changes_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    with torch.inference_mode():
        assert convista.cost(net, image=(3, 8, 8)) == convista.cost(net, image=(3, 8, 8))
        assert convista.cost(net, image=(3, 8, 8)).activation_bytes_train > 0
