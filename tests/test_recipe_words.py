"""The words of a recipe that an experiment needs: `what_if`, `limit`, `init_scale`; and tables of your own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import convista
from conftest import Call, json_of
from convista.errors import InputError, InterruptedRunError
from convista.training import Console

SMALL = {"model": "resnet20", "image": 16, "batch": 4, "precision": "fp32"}
OWN = """
from convista.blocks import Chain, Conv, Head, Spec

def tiny(classes=10):
    return Spec("tiny", Chain(conv1=Conv(8, 7, 2), head=Head(classes)), image=16)
"""


def test_a_changed_table_is_what_is_trained_and_kept(tmp_path: Path) -> None:
    run = convista.train(
        "digits", out=tmp_path / "run", model="lenet5", what_if="conv=separable,act=relu", epochs=1, limit=40
    )
    assert run.spec.table == convista.what_if("lenet5", conv="separable", act="relu").spec.table
    assert {type(m) for m in run.net.layers("*.act").values()} == {nn.ReLU}
    assert run.info["splits"]["train"] == 40
    assert run.recipe.what_if == "conv=separable,act=relu"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"what_if": "conv=seperable"}, "Did you mean separable"),
        ({"what_if": "konv=separable"}, "Did you mean conv"),
        ({"what_if": "separable"}, "expected CHANGE=VALUE"),
        ({"what_if": "image=64"}, "is the word image"),
        ({"what_if": "act=relu"}, "changes nothing"),
        ({"what_if": "norm=none", "model": "torchvision:resnet18"}, "no table to change"),
        ({"limit": 2}, "with 3 classes it must be at least 3"),
        ({"limit": 1}, "must be at least 2"),
        ({"init_scale": -1.0}, "must be at least 0"),
    ],
)
def test_a_wrong_word_is_refused_and_nothing_is_left(
    photos: Path, tmp_path: Path, words: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        convista.train(photos, out=tmp_path / "run", **SMALL | words)
    assert not (tmp_path / "run").exists()


def test_initial_weights_are_scaled_once(photos: Path, tmp_path: Path) -> None:
    still = SMALL | {"epochs": 1, "optimizer": "sgd", "lr": 1e-60, "weight_decay": 0.0}
    nets = [
        convista.train(photos, out=tmp_path / f"{scale}", init_scale=scale, **still).net for scale in (1.0, 3.0, 0.0)
    ]
    for name, module in nets[0].named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            tripled, zero = (net.get_submodule(name) for net in nets[1:])
            assert torch.equal(tripled.weight, 3 * module.weight)
            assert not zero.weight.any()
        if isinstance(module, nn.BatchNorm2d):
            assert all(torch.equal(net.get_submodule(name).weight, module.weight) for net in nets)


@pytest.mark.parametrize("steps", [0, 4])
def test_a_run_with_all_of_them_resumes_to_the_same_bytes(photos: Path, tmp_path: Path, steps: int) -> None:
    words = SMALL | {"epochs": 2, "what_if": "norm=none,act=tanh", "limit": 12, "init_scale": 0.5}
    whole = convista.train(photos, out=tmp_path / "whole", **words)
    calls = iter(range(100))
    console = Console(stopped=lambda: next(calls) >= steps)
    with pytest.raises(InterruptedRunError):
        convista.train(photos, out=tmp_path / "part", console=console, **words)
    if not steps:
        (tmp_path / "part" / "last.ckpt").unlink()  # as if it had been killed before anything was saved
    part = convista.train(resume=tmp_path / "part")
    weights = [(run.path / "model.safetensors").read_bytes() for run in (whole, part)]
    assert weights[0] == weights[1]
    assert part.info["splits"] == {"train": 12, "val": 3, "test": 6}


def test_a_table_of_your_own_is_trained_changed_and_needed_no_more(
    photos: Path, tmp_path: Path, convista: Call
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    words = ("--model", "mine:tiny", "--what-if", "kernel7=3x3x3", "--epochs", 1, "--batch", 8, "--out", "run")
    done = json_of(convista("train", photos, *words, "--json"))
    table = json.loads((tmp_path / "run" / "spec.json").read_text())
    assert list(table["table"]["rows"]["conv1"]["rows"]) == ["conv1", "conv2", "conv3"]
    assert done["model"] == "mine:tiny"
    (tmp_path / "mine.py").unlink()
    assert convista("predict", "run", next(photos.rglob("*.png"))).returncode == 0
