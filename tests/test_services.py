"""What every network can do: any size, dilation, stochastic depth, checkpointing, features, early answers."""

from __future__ import annotations

import copy
import os
import pickle

import pytest
import torch
from networks import quickly, without_chance
from torch import nn

import convista
from convista.blocks import DropPath, Net, Spec
from convista.errors import InputError, UnknownNameError
from convista.models import NETWORKS

FAMILIES = sorted({card.family: card.name for card in reversed(list(NETWORKS.values()))}.values())  # the first of each
# Larger or wider than a sister of the same rows: what takes long is tried on the sister. CONVISTA_TEST_ALL=1 tries all.
SISTERS = set() if os.environ.get("CONVISTA_TEST_ALL") else {
    *(f"vgg{depth}{norm}" for depth in (13, 16, 19) for norm in ("", "_bn")),
    *(f"efficientnet_b{i}" for i in range(2, 8)),
    *(f"densenet{depth}" for depth in (161, 169, 201)),
    *(f"resnet{depth}{form}" for depth in (101, 152) for form in ("", "_v1", "_v2")),
    *(f"mobilenet_v2_{width}" for width in ("050", "075", "130", "140")),
    *(f"mobilenet_{width}" for width in ("075", "050")),
    *("resnet32", "resnet44", "resnet56", "resnet1202", "resnext101_32x4d", "resnext101_64x4d", "resnext101_32x8d"),
}  # fmt: skip


def normed(spec: Spec) -> Net:
    """A small, honest network: random weights, statistics that keep values in range."""
    torch.manual_seed(5)
    net = spec()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return without_chance(net)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_runs_at_any_size_and_is_an_ordinary_module(name: str) -> None:
    """Forward and backward with one picture at the smallest and at odd sizes; copied, pickled, in channels_last."""
    spec = NETWORKS[name].spec(classes=3)
    net, least = quickly(spec).eval(), spec.smallest
    odd = least + 2 - least % 2
    for size in ((least, least), (odd, odd + 17)):
        out = net(torch.randn(1, spec.channels, *size))
        assert out.shape == (1, 3)
        out.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=True)
    net.train()(torch.randn(2, spec.channels, odd + 32, odd + 32)).sum().backward()
    net.zero_grad(set_to_none=True)
    net.eval()
    x = torch.randn(1, spec.channels, odd, odd)
    with torch.no_grad():
        expected = net(x)
        if name not in SISTERS:
            for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
                assert torch.equal(other(x), expected)
        last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(last, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SISTERS])
def test_any_network_can_be_exported(name: str) -> None:
    spec = NETWORKS[name].spec(classes=3)
    net = quickly(spec).eval()
    x = torch.randn(1, spec.channels, max(spec.smallest, 33), max(spec.smallest, 33))
    with torch.no_grad():
        program = torch.export.export(net, (x,))
        expected = net(x)
        assert torch.allclose(program.module()(x), expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_each_family_can_be_compiled(name: str) -> None:
    """Traced in one piece, forward and backward; what the compiler makes of it then is the compiler's matter."""
    spec = NETWORKS[name].spec(classes=3)
    net = normed(spec).eval()
    side = max(spec.smallest, 33)
    x = torch.randn(1, spec.channels, side, side)
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    out, expected = compiled(x), net(x)
    out.sum().backward()
    assert torch.allclose(out, expected, atol=1e-5 * max(1.0, float(expected.detach().abs().max())))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_that_is_too_small_is_refused_before_anything_flows(name: str) -> None:
    spec = NETWORKS[name].spec()
    least = spec.smallest
    spec.check((least, least))
    if least == 1:
        return
    with pytest.raises(InputError, match=f"at .* map of .*smallest picture that it can take is {least}x{least}"):
        spec.at(least - 1)
    with torch.device("meta"):
        net = Net(spec)
    with pytest.raises(InputError, match=f"{name} cannot take pictures of {least - 1}x{least - 1}"):
        net(torch.zeros(1, spec.channels, least - 1, least - 1, device="meta"))


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_are_what_the_maps_measure(name: str) -> None:
    """The arithmetic of the table against the shapes that torch computes, at an awkward size."""
    spec = NETWORKS[name].spec()
    side = max(spec.smallest, 35) + 6
    size: tuple[int, ...] = (side, side)
    shapes = {layer.name: layer.shape_out for layer in spec.at(side).layers}
    width = spec.channels
    for row, block in spec.table.rows:
        size, width = block.size(size), block.out(width)  # type: ignore[arg-type]
        assert shapes[row][0] == width
        assert shapes[row][1:] in (size, ())


def test_the_wrong_number_of_channels_is_refused() -> None:
    net = convista.create("resnet20", classes=3)
    with pytest.raises(InputError, match=r"expects pictures \(N, 3, H, W\); got \(2, 1, 32, 32\)"):
        net(torch.zeros(2, 1, 32, 32))
    with pytest.raises(InputError, match="expects pictures"):
        net(torch.zeros(3, 32, 32))


@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("lenet5", "alexnet", "zfnet", "vgg11")])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_sees_the_same_pixels(name: str, output_stride: int) -> None:
    """Every second (or fourth) position of the dilated network's last map is the plain network's last map."""
    spec = NETWORKS[name].spec(classes=3)
    if spec.table.reduction() <= output_stride:
        with pytest.raises(InputError, match=f"{name}: .*only shrinks by {spec.table.reduction()}"):
            spec.dilated(output_stride)
        return
    plain, dilated = normed(spec).eval(), normed(spec.dilated(output_stride)).eval()
    dilated.load_state_dict(plain.state_dict())
    step = spec.table.reduction() // output_stride
    side = 131 if name == "nasnet_mobile" else max(spec.smallest, 129)  # "same" is symmetric where maps are odd
    x = torch.randn(1, 3, side, side)
    last = spec.levels[-1].name
    with torch.no_grad():
        a, b = plain.features(x, [last])[last], dilated.features(x, [last])[last]
    b = b[:, :, ::step, ::step][:, :, : a.shape[2], : a.shape[3]]
    assert a.shape == b.shape
    if name != "efficientnet_b0":  # its squeeze-excite pools over the whole map
        inside = slice(None) if name != "nasnet_mobile" else slice(1, -1)
        a, b = a[:, :, inside, inside], b[:, :, inside, inside]
        assert torch.allclose(a, b, atol=1e-4 * float(a.abs().max()))


def test_where_nothing_can_be_dilated_that_is_said() -> None:
    with pytest.raises(InputError, match=r"lenet5_sparse: output_stride=2 .*at s4 2x2 trainable subsampling"):
        convista.create("lenet5_sparse", output_stride=2)
    with pytest.raises(InputError, match=r"resnet20: output_stride=16 .*only shrinks by 4"):
        convista.create("resnet20", output_stride=16)
    with pytest.raises(InputError, match="power of two"):
        convista.create("resnet18", output_stride=12)
    assert convista.create("vgg11", output_stride=8).spec.levels[-1].stride == 8


def test_stochastic_depth_rises_linearly_and_keeps_the_mean() -> None:
    net = convista.create("resnet50", stochastic_depth=0.4)
    rates = [m.probability for m in net.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.4 * (i + 1) / 16 for i in range(16)])
    drop = DropPath(0.25).train()
    kept = drop(torch.ones(40_000, 1, 1, 1)).flatten()
    assert sorted(set(kept.tolist())) == pytest.approx([0.0, 4 / 3])
    assert kept.mean() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(drop.eval()(torch.ones(3, 1, 1, 1)), torch.ones(3, 1, 1, 1))
    for name in ("vgg11", "densenet121", "googlenet", "mobilenet"):
        with pytest.raises(InputError, match=f"{name}: stochastic_depth needs shortcuts"):
            convista.create(name, stochastic_depth=0.1)
    with pytest.raises(InputError, match="below 1"):
        convista.create("resnet18", stochastic_depth=1.0)


@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("alexnet", "zfnet", "vgg11")])
def test_checkpointing_changes_nothing_but_the_memory(name: str) -> None:
    """The same outputs, gradients and running statistics, dropout included."""
    spec = NETWORKS[name].spec(classes=3)
    side = max(spec.smallest, 48)
    x = torch.randn(3, spec.channels, side, side)
    torch.manual_seed(5)
    plain = spec().train()
    other = copy.deepcopy(plain)
    other.checkpointing = True
    results = []
    for net in (plain, other):
        torch.manual_seed(11)
        out = net(x)
        out.square().mean().backward()
        results.append((out, [p.grad for p in net.parameters()], list(net.state_dict().values())))
    (out_a, grads_a, state_a), (out_b, grads_b, state_b) = results
    assert torch.equal(out_a, out_b)
    assert all(torch.equal(a, b) for a, b in zip(state_a, state_b, strict=True))
    for a, b in zip(grads_a, grads_b, strict=True):
        assert a is not None
        assert b is not None
        assert torch.allclose(a, b, atol=1e-6 * max(1.0, float(a.abs().max())))


def test_checkpointing_keeps_less() -> None:
    kept = {}
    for checkpointing in (False, True):
        net = convista.create("resnet50", classes=3, checkpointing=checkpointing).train()
        seen: dict[int, int] = {}
        own = {p.untyped_storage().data_ptr() for p in net.parameters()}

        def note(t: torch.Tensor, seen: dict[int, int] = seen, own: set[int] = own) -> torch.Tensor:
            if t.untyped_storage().data_ptr() not in own:
                seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            net(torch.randn(2, 3, 64, 64))
        kept[checkpointing] = sum(seen.values())
    assert kept[True] < 0.5 * kept[False]


@pytest.mark.parametrize("name", NETWORKS)
def test_features_come_by_level(name: str) -> None:
    spec = NETWORKS[name].spec()
    side = max(spec.smallest, 64)
    with torch.device("meta"):
        net = Net(spec).eval()
    maps = net.features(torch.zeros(1, spec.channels, side, side, device="meta"))
    assert list(maps) == [level.stride for level in spec.levels]
    assert set(maps) >= ({4, 8, 16, 32} if spec.image > 32 else {4} if "densenet" not in name else {2, 4})
    for level in spec.levels:
        width, height = maps[level.stride].shape[1:3]
        assert width == level.width
        assert abs(height - side / level.stride) <= 8  # stems without padding lose a rim


def test_features_come_by_name_and_are_not_overwritten() -> None:
    net = convista.create("resnet18", classes=3).eval()
    x = torch.randn(1, 3, 64, 64)
    maps = net.features(x, ["conv1.norm", "conv1.act", 32])
    assert float(maps["conv1.norm"].detach().min()) < 0
    assert torch.equal(maps["conv1.norm"].relu(), maps["conv1.act"])
    assert maps[32].shape == (1, 512, 2, 2)
    with pytest.raises(InputError, match="has no map of stride 3; its strides are 2, 4, 8, 16, 32"):
        net.features(x, [3])
    with pytest.raises(UnknownNameError, match="conv6"):
        net.features(x, ["conv6"])
    assert not any(module._forward_hooks for module in net.modules())


def test_heads_on_the_side_answer_early_and_teach() -> None:
    net = convista.create("googlenet", classes=5, auxiliary=True)
    x = torch.randn(2, 3, 224, 224)
    early = net(x, answers=True)
    assert list(early) == ["aux1", "aux2", "head"]
    assert all(logits.shape == (2, 5) for logits in early.values())
    assert net.spec.auxiliary == {"aux1": 0.3, "aux2": 0.3}
    assert torch.equal(net.eval()(x), net(x, answers=True)["head"])
    bare = convista.create("googlenet", classes=5)
    assert list(bare(x, answers=True)) == ["head"]
    assert not bare.spec.auxiliary
    assert sum(p.numel() for p in convista.create("googlenet_tv", auxiliary=True).parameters()) == 13_004_888
    assert sum(p.numel() for p in convista.create("inception_v3", auxiliary=True).parameters()) == 27_161_264


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(InputError, match="resnet18 has no heads on the side"):
        convista.create("resnet18", auxiliary=True)
    with pytest.raises(UnknownNameError, match=r"no option named 'output_strid'. Did you mean output_stride"):
        convista.create("resnet18", output_strid=8)


def test_training_adds_the_loss_of_the_heads_on_the_side(tmp_path) -> None:
    run = convista.train("digits", model="googlenet_tv", epochs=1, image=32, channels=3, batch=512, out=tmp_path / "r")
    assert list(run.spec.auxiliary) == ["aux1", "aux2"]
    torch.manual_seed(run.recipe.seed)
    before = run.spec()
    moved = run.net.get_submodule("aux1.out.linear").weight - before.get_submodule("aux1.out.linear").weight
    assert moved.detach().abs().max() > 0


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own, beside which convista is called."""
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "from convista.blocks import Chain, Conv, Head\n"
        "def table(classes=4):\n    return Chain(conv1=Conv(8, 3, 2), head=Head(classes))\n"
        "def module(num_classes=4, in_chans=3):\n"
        "    return nn.Sequential(nn.Conv2d(in_chans, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), "
        "nn.Linear(8, num_classes))\n"
        "def fixed():\n    return module(10)\n"
        "def bare(classes):\n    return table(classes)\n"
        "def wrong():\n    return 3\n"
        "class Two(nn.Module):\n    def forward(self, x):\n        return {'a': x}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_networks"


def test_networks_of_others_work_where_a_network_is_asked_for(mine: str, tmp_path) -> None:
    for name in ("timm:resnet10t", "torchvision:squeezenet1_1", f"{mine}:module", f"{mine}:table", f"{mine}:fixed"):
        spec = convista.spec(name, classes=None if "fixed" in name else 10, image=64)
        assert spec.classes == 10
        assert convista.cost(spec).params == sum(p.numel() for p in spec().parameters())
        assert spec.layers[-1].shape_out == (10,)
        net = convista.create(name, classes=None if "fixed" in name else 10)
        assert convista.blocks.layers(net, "*")
        assert convista.models.read_spec(spec.to_json()) == spec
    assert convista.spec(f"{mine}:bare", classes=7).classes == 7
    run = convista.train("digits", model=f"{mine}:bare", epochs=1, channels=3, image=16, out=tmp_path / "run")
    assert convista.Run.load(tmp_path / "run").evaluate()[0].top1 == run.test.top1


def test_what_others_networks_cannot_do_is_said(mine: str) -> None:
    for name, words, said in (
        ("timm:resnet999", {}, "no network in timm named 'resnet999'"),
        ("torchvision:resnet999", {}, "no network in torchvision named"),
        ("torchvision:resnet18", {"channels": 1}, "take 3 channels, not 1"),
        ("nowhere:net", {}, "nowhere cannot be imported"),
        (f"{mine}:tabel", {}, "Did you mean table"),
        (f"{mine}:wrong", {}, "gave a int"),
        (f"{mine}:Two", {}, "does not return one tensor"),
        (f"{mine}:fixed", {"classes": 3}, r"puts out \(10,\).*expected 3 logits"),
        ("timm:resnet10t", {"output_stride": 8}, "output_stride changes a table"),
    ):
        with pytest.raises(InputError, match=said):
            convista.create(name, **words)
    with pytest.raises(InputError, match="TensorFlow's padding"):
        convista.create("timm:mobilenetv2_100", weights=_tensorflow_file(mine))


def _tensorflow_file(folder: str) -> str:
    from safetensors.torch import save_file

    save_file({"a.weight": torch.zeros(1)}, "w.safetensors", {"padding": "TensorFlow SAME"})
    return "w.safetensors"
