"""The doctor says what is wrong, says nothing where nothing is, and leaves its patients as they were."""

from __future__ import annotations

import copy
import json
import math
from collections import OrderedDict
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import convista
from conftest import make_photos
from convista.cli.app import app
from convista.errors import InputError
from convista.training import Diagnosis, diagnose


def batch(side: int = 16, channels: int = 3, classes: int = 4, count: int = 16) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, channels, side, side), torch.arange(count) % classes


def plain(depth: int = 20, std: float | None = None, act: type[nn.Module] = nn.ReLU, width: int = 16) -> nn.Sequential:
    """Convolutions without normalisation or shortcuts, drawn with `std`, by He where None."""
    torch.manual_seed(0)
    rows: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(depth):
        rows[f"conv{i + 1}"] = nn.Conv2d(3 if i == 0 else width, width, 3, padding=1)
        rows[f"act{i + 1}"] = act()
    rows |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(width, 4)}
    net = nn.Sequential(rows)
    convista.blocks.he(net)
    if std is not None:
        for module in net:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=std)
    return net


def codes(found: Diagnosis) -> set[str]:
    return {finding.code for finding in found.findings}


def look(net: nn.Module, **words: int) -> Diagnosis:
    return diagnose(net, *batch(**words))


def test_healthy_networks_have_no_findings() -> None:
    for name in ("lenet5", "resnet20"):
        assert convista.doctor(name, "digits", channels=1).findings == (), name
    assert look(plain()).findings == ()


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:resnet18"])
def test_no_false_alarm_on_known_networks(name: str) -> None:
    assert convista.doctor(name, image=32, batch=8).findings == ()


def test_sums_that_grow_are_remarked_and_cured() -> None:
    grown = convista.doctor("resnet110", image=16, batch=8).findings
    assert [(f.code, f.severity) for f in grown] == [("loss-at-start", "note")]
    assert convista.doctor("resnet110", image=16, batch=8, zero_last=True).findings == ()


def test_branches_without_normalisation_are_found_too_large_and_cured() -> None:
    assert "loss-at-start" in codes(convista.doctor("googlenet", image=64, batch=8, init="he"))
    assert convista.doctor("googlenet", image=64, batch=8).findings == ()
    assert convista.doctor("googlenet", image=64, batch=8, init="lsuv").findings == ()


def test_weights_that_are_too_small_make_activations_and_gradients_vanish() -> None:
    found = look(plain(std=0.01))
    assert {"vanishing-activations", "vanishing-gradients"} <= codes(found)
    first = found.findings[0]
    assert first.layer.startswith("conv")
    assert int(first.layer[4:]) < 8
    assert "--init he" in first.text


def test_weights_that_are_too_large_make_them_explode() -> None:
    found = look(plain(std=0.5))
    assert {"exploding-activations", "exploding-gradients"} <= codes(found)


def test_a_deep_stack_of_sigmoids_loses_its_gradients() -> None:
    assert "vanishing-gradients" in codes(look(plain(act=nn.Sigmoid)))


def test_zeros_are_found_and_named() -> None:
    found = convista.doctor("resnet20", "digits", channels=1, init="zeros")
    zero = next(finding for finding in found.findings if finding.code == "zero-weights")
    assert (zero.layer, zero.severity) == ("conv1.conv", "error")
    assert "stay the same" in zero.text


def test_equal_weights_are_found() -> None:
    net = plain(depth=3)
    nn.init.constant_(net.conv2.weight, 0.1)
    assert "equal-weights" in codes(look(net))


def test_a_branch_that_starts_at_zero_on_purpose_is_no_finding() -> None:
    assert convista.doctor("resnet20", "digits", channels=1, zero_last=True).findings == ()
    net = plain(depth=3)
    nn.init.zeros_(net.head.weight)
    assert not codes(look(net)) & {"zero-weights", "no-gradient", "constant-logits"}


def test_relus_that_are_dead_by_their_bias_are_found() -> None:
    net = plain(depth=3)
    nn.init.constant_(net.conv2.bias, -100.0)
    found = look(net)
    assert next(f.layer for f in found.findings if f.code == "dead-layer") == "act2"
    assert "no-gradient" in codes(found)
    with torch.no_grad():
        net.conv2.bias[:1] = 0
    found = look(net)
    assert "dead-units" in codes(found)
    assert next(layer.dead for layer in found.layers if layer.name == "act2") == 15 / 16


@pytest.mark.parametrize(("scale", "shift"), [(0.27, 0.45), (60.0, 120.0)])
def test_an_input_that_is_not_normalised_is_found(scale: float, shift: float) -> None:
    x, y = batch()
    found = diagnose(plain(depth=3), x * scale + shift, y)
    assert "input" in codes(found)
    assert f"mean {found.input_mean:.3g}" in next(f.text for f in found.findings if f.code == "input")


def test_raw_shows_what_pictures_do_without_normalisation() -> None:
    found = convista.doctor("lenet5", "digits", raw=True)
    assert {"input", "saturated"} <= codes(found)
    assert next(f.layer for f in found.findings if f.code == "saturated") == "c1.act"


@pytest.mark.parametrize("act", [nn.Tanh, nn.Sigmoid])
def test_saturation_is_found(act: type[nn.Module]) -> None:
    assert "saturated" in codes(look(plain(depth=3, std=3.0, act=act)))


@pytest.mark.parametrize("mode", [True, False])
def test_batch_norms_are_looked_at(mode: bool) -> None:
    net = convista.create("resnet20").train(mode)
    found = codes(look(net))
    assert ("batchnorm-untrained" in found) is not mode
    if mode:
        net.conv1.norm.eval()
        net.conv2_x.block1.conv1.norm.momentum = 0.0
        nn.init.normal_(net.conv3_x.block1.conv1.conv.weight, std=1e-6)
        assert {"batchnorm-frozen", "batchnorm-still", "batchnorm-flat"} <= codes(look(net))
        assert "batchnorm-few" in codes(look(convista.create("resnet18").train(), side=32, count=4))


def test_what_is_no_number_is_named_where_it_begins() -> None:
    net = plain(depth=4)
    net.conv3.bias.data[0] = math.inf
    found = look(net)
    assert [(f.code, f.layer) for f in found.findings] == [("not-finite", "conv3")]
    net = plain(depth=4)
    net.conv2.weight.data[0, 0] = math.nan
    assert "The weights of conv2" in look(net).findings[0].text
    x, y = batch()
    x[0, 0, 0, 0] = math.nan
    assert "The input holds" in diagnose(plain(depth=2), x, y).findings[0].text
    assert json.dumps(found.to_json(), allow_nan=False)


def test_logits_that_do_not_depend_on_the_picture_are_found() -> None:
    net = plain(depth=3)
    nn.init.constant_(net.conv2.bias, -1e4)
    assert "constant-logits" in codes(look(net))


def test_a_loss_far_above_guessing_is_remarked() -> None:
    net = plain(depth=3)
    nn.init.normal_(net.head.weight, std=2.0)
    assert "loss-at-start" in codes(look(net))


def test_the_patient_is_left_as_it_was() -> None:
    net = convista.create("resnet20").train()
    net.head.eval()
    calls: list[int] = []
    handle = net.conv1.register_forward_hook(lambda *_: calls.append(1))
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    before = copy.deepcopy(net.state_dict())
    gradients = [p.grad.clone() for p in net.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    convista.doctor(net, init="zeros", batch=4)
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(net.parameters(), gradients, strict=True))
    assert net.training
    assert not net.head.training
    assert [len(module._forward_hooks) for module in net.modules() if module._forward_hooks] == [1]
    assert all(module.inplace for module in net.modules() if isinstance(module, nn.ReLU))
    handle.remove()


def test_numbers_are_those_of_the_definition() -> None:
    net, (x, y) = plain(depth=2), batch()
    found = {layer.name: layer for layer in diagnose(net, x, y).layers}
    first = net.conv1(x)
    first.retain_grad()
    hidden = net.act1(first)
    loss = nn.functional.cross_entropy(net[4:](net.act2(net.conv2(hidden))), y)
    loss.backward()
    row = found["conv1"]
    assert row.mean == pytest.approx(float(first.detach().mean()), abs=1e-6)
    assert row.std == pytest.approx(float(first.detach().std(correction=0)), rel=1e-5)
    assert row.gradient == pytest.approx(float(first.grad.norm()), rel=1e-4)
    assert row.weight_gradient == pytest.approx(float(net.conv1.weight.grad.norm()), rel=1e-4)
    assert found["act1"].zeros == pytest.approx(float((hidden == 0).double().mean()))
    assert row.ratio == pytest.approx(row.weight_gradient / row.weight)


def test_a_run_is_looked_at_as_it_is_in_use(photos: Path, tmp_path: Path) -> None:
    run = convista.train(photos, out=tmp_path / "run", model="resnet20", image=16, epochs=2, batch=8)
    found = convista.doctor(run, photos)
    assert found.mode == "in use"
    assert "batchnorm-untrained" not in codes(found)
    assert convista.doctor(tmp_path / "run", photos, batch=8).classes == 3
    with pytest.raises(InputError, match="leave out --init"):
        convista.doctor(run, photos, init="he")
    other = make_photos(tmp_path / "other", classes=("red", "pink"), each=3)
    with pytest.raises(InputError, match="'pink' is not one"):
        convista.doctor(run, other)


def test_a_run_is_looked_at_with_its_own_pictures_where_they_are_still_there(photos: Path, tmp_path: Path) -> None:
    convista.train(photos, out=tmp_path / "run", model="resnet20", image=16, epochs=1, batch=8)
    found = convista.doctor(tmp_path / "run")
    assert found.data == "photos, the run's own pictures"
    assert found.loss == convista.doctor(tmp_path / "run", photos).loss
    assert convista.doctor(tmp_path / "run", raw=True).data == "photos, the run's own pictures, raw bytes"
    photos.rename(tmp_path / "elsewhere")
    found = convista.doctor(tmp_path / "run")
    assert found.data.startswith("noise with the spectrum of pictures, because the run's own pictures cannot be used")
    assert "photos" in found.data


@pytest.fixture(scope="module")
def floored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that has learned nothing, and what was said of it: the weights of 1998 fade, and SGD is slow to mend it."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("floor") / "run"
    words = {"model": "lenet5", "optimizer": "momentum", "epochs": 1}
    convista.train("digits", out=out, console=convista.Console(say=said.append), **words)
    return out, said


def test_a_run_that_stayed_at_its_floor_is_a_finding_with_the_whole_command(floored: tuple[Path, list[str]]) -> None:
    run, said = floored
    finding = convista.doctor(run).findings[0]
    command = f"convista lr-find digits --model lenet5 --recipe {run}"
    assert (finding.code, finding.severity) == ("at-floor", "error")
    assert "It stayed at its floor: test top-1" in finding.text
    assert command in finding.text
    assert command in said[-1]
    assert f"convista doctor {run}" in said[-1]
    assert "--init he" in said[-1]


def test_lenet5_leaves_its_floor_with_plain_sgd_where_the_message_is_heeded(tmp_path: Path) -> None:
    words = {"model": "lenet5", "optimizer": "momentum", "init": "he", "epochs": 2}
    run = convista.train("digits", out=tmp_path / "run", **words)
    assert run.test.top1 > 0.5
    assert convista.doctor(run).findings == ()


def test_an_absurd_loss_in_use_is_a_finding() -> None:
    net, (x, y) = plain(depth=3).eval(), batch()
    nn.init.normal_(net.head.weight, std=20.0)
    assert {f.code: f.severity for f in convista.doctor(net, (x, y)).findings}["loss-in-use"] == "error"
    assert "loss-in-use" not in codes(convista.doctor(net, image=16))  # noise has no classes


def test_findings_are_said_again_behind_a_long_table() -> None:
    lines = str(convista.doctor("resnet110", image=16, batch=8)).splitlines()
    assert lines[2] == lines[-1]
    assert lines[2].startswith("· The loss starts at")
    assert str(convista.doctor("resnet20", batch=8)).endswith("✓ Nothing is wrong.")
    assert str(convista.doctor("lenet5")).count("Nothing is wrong") == 1


def test_a_shared_activation_is_listed_each_time_it_runs() -> None:
    act = nn.ReLU()
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 4))
    assert [layer.name for layer in look(net, side=4).layers] == ["1", "2", "3", "2 (2)", "5"]


def test_frozen_networks_have_no_gradients_of_weights_and_no_findings_about_them() -> None:
    net = plain(depth=3)
    net.requires_grad_(False)
    found = look(net)
    assert all(layer.weight_gradient is None for layer in found.layers)
    assert found.findings == ()


def test_the_command_says_it_in_words_first(tmp_path: Path) -> None:
    words = ["doctor", "lenet5", "digits", "--init", "zeros"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[2].startswith("✗ The weights of c1.conv and 4 more are all zero")
    assert any(line.startswith("output.linear") for line in lines)
    page = (tmp_path / "page.html").read_text()
    assert "zero-weights" in page
    assert page.count("<figure>") == 2
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    answer = json.loads(CliRunner().invoke(app, [*words, "--json", "--batch", "8"]).stdout)
    assert {"code", "layer", "text", "severity"} == set(answer["findings"][0])
    assert answer["layers"][0]["name"] == "c1.conv"


def test_the_drawing_is_well_formed_and_holds_every_layer(tmp_path: Path) -> None:
    found = convista.doctor("lenet5", "digits", out=tmp_path / "plot.svg")
    root = ElementTree.fromstring((tmp_path / "plot.svg").read_text())
    assert sum(1 for _ in root.iter("{http://www.w3.org/2000/svg}circle")) == 2 * len(found.layers)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resnet21",), "Did you mean resnet"),
        (("nowhere/run",), "no run folder at nowhere/run"),
        ((".",), "no run folder at"),
        (("lenet5", "nowhere"), "nowhere"),
        (("lenet5", None, {"raw": True}), "give a folder of pictures"),
        (("lenet5", "digits", {"init": "hi"}), "There is no init named"),
        (("lenet5", "digits", {"zero_last": True}), "Leave --zero-last out"),
        (("lenet5", "digits", {"batch": 1}), "at least 2"),
        (("lenet5", "digits", {"image": 4}), "cannot take pictures"),
        (("lenet5", "digits", {"out": "x.png"}), r"ends in \.html or \.svg"),
        (("lenet5", "digits", {"epochs": 3}), "no option named 'epochs'"),
        (("lenet5", "digits", {"device": "tpu"}), "not on this machine"),
        ((7,), "A int was given"),
        (("lenet5", 7), "A int was given as data"),
        (("lenet5", (torch.zeros(2, 1, 32, 32),)), "two tensors of one length"),
    ],
)
def test_wrong_input_ends_in_one_clear_message(words: tuple[object, ...], said: str) -> None:
    *given, last = words
    options = last if isinstance(last, dict) else {}
    with pytest.raises(InputError, match=said) as caught:
        convista.doctor(*(given if options else words), **options)
    assert caught.value.exit_code == 2


def test_networks_that_do_not_classify_are_refused_kindly() -> None:
    x, y = batch()
    with pytest.raises(InputError, match="looks at classifiers"):
        diagnose(nn.Sequential(nn.Conv2d(3, 4, 3)), x, y)
    with pytest.raises(InputError, match="cannot take a batch of 16x3x16x16"):
        diagnose(nn.Sequential(nn.Flatten(), nn.Linear(5, 4)), x, y)
    with pytest.raises(InputError, match="has 4 classes"):
        diagnose(plain(depth=2), x, y + 3)
    with pytest.raises(InputError, match="larger --batch or --image"):
        diagnose(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4)), x[:1], y[:1])


def test_bytes_are_looked_at_as_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    found = diagnose(net, torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8), torch.randint(0, 2, (8,)))
    assert any("normalis" in str(finding) for finding in found.findings)
