"""`convista cost`, `pick` and `scale`: one readable answer, one JSON object, one page, one clear error."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import convista
from convista.cli.app import app
from convista.errors import ConvistaError

TOTALS = {
    "model", "image", "params", "macs", "flops", "other_flops", "activation_bytes_train", "peak_bytes_infer",
    "receptive_field", "uncounted", "rows",
}  # fmt: skip


def run(*words: str) -> str:
    """What a command prints on stdout; raises what it raises."""
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def read(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def test_cost_prints_what_others_build_on() -> None:
    found = read("cost", "resnet18", "--batch", "4", "--max-memory", "2G", "--measure")
    assert found.keys() >= TOTALS | {"stages", "memory", "fits", "latency"}
    assert (found["model"], found["image"], found["params"], found["macs"]) == (
        "resnet18", [3, 224, 224], 11_689_512, 1_814_073_344,
    )  # fmt: skip
    assert found["flops"] == 2 * found["macs"]
    assert found["receptive_field"] == 435
    assert found["uncounted"] == []
    row = next(row for row in found["rows"] if row["name"] == "conv1.conv")
    assert (row["kind"], row["shape"], row["params"], row["macs"]) == ("Conv2d", [64, 112, 112], 9408, 118_013_952)
    assert found["memory"]["batch"] == 4
    assert found["fits"]["infer"] > found["fits"]["train"] > 1
    assert found["latency"]["ms"] > 0


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_cost_takes_any_model(name: str) -> None:
    found = read("cost", name, "--image", "64")
    assert (found["params"], found["image"]) == (11_689_512, [3, 64, 64])


def test_cost_takes_a_run_folder(tmp_path: Path) -> None:
    convista.train("digits", model="lenet5", epochs=1, out=tmp_path / "run")
    assert read("cost", str(tmp_path / "run"))["rows"][-1]["shape"] == [10]


def test_cost_lists_many_with_globs() -> None:
    text = run("cost", "mobilenet_0*", "lenet5")
    assert [line.split()[0] for line in text.splitlines()[1:5]] == [
        "mobilenet_075", "mobilenet_050", "mobilenet_025", "lenet5",
    ]  # fmt: skip


def test_cost_shows_layers_and_one_of_them() -> None:
    assert re.search(r"conv2_x\.block1\.conv1\.conv +Conv2d +64 x 56 x 56 +36,864", run("cost", "resnet18", "--layers"))
    text = run("cost", "resnet18", "--layer", "conv2_x.block1")
    assert "43 x 43" not in text
    assert "27 x 27 pixels each, 4 x 4 pixels apart" in text
    assert "parameters  73,984" in text


def test_cost_puts_networks_beside_each_other() -> None:
    found = read("cost", "resnet18", "--vs", "mobilenet")
    assert [row["place"] for row in found["stages"]][-1] == "head"
    assert re.search(r"ratio +0\.362 +0\.314", run("cost", "resnet18", "--vs", "mobilenet"))


def test_cost_answers_what_if() -> None:
    found = read("cost", "resnet18", "--what-if", "conv=separable", "--what-if", "image=160")
    assert found["before"]["macs"] == 1_814_073_344
    assert found["savings"][0]["macs"] == 336_804_096
    assert found["after"]["image"] == [3, 160, 160]
    assert "1/N + 1/k^2" in run("cost", "resnet18", "--what-if", "conv=separable")


def test_cost_counts_the_claims() -> None:
    text = run("cost", "--claims")
    assert text.count("WRONG") == 2
    assert "271,351,808" in text
    assert len(read("cost", "--claims")["claims"]) == 8


def test_pages_stand_alone_and_tables_can_be_read(tmp_path: Path) -> None:
    for name, words in {
        "one": ("cost", "lenet5"), "vs": ("cost", "lenet5", "--vs", "resnet20"),
        "if": ("cost", "lenet5", "--what-if", "width=2"), "pick": ("pick", "--max-macs", "100M"),
        "scale": ("scale", "resnet20", "--max-macs", "60M"),
    }.items():  # fmt: skip
        run(*words, "--out", str(tmp_path / f"{name}.html"))
        page = (tmp_path / f"{name}.html").read_text()
        assert "<svg" in page
        assert not re.search(r'(src|href)="http', page)
    run("cost", "lenet5", "--out", str(tmp_path / "layers.csv"))
    rows = list(csv.DictReader((tmp_path / "layers.csv").read_text().splitlines()))
    assert sum(int(row["params"]) for row in rows) == 61_706
    run("cost", "lenet5", "--out", str(tmp_path / "cost.json"))
    assert json.loads((tmp_path / "cost.json").read_text())["macs"] == 416_520


def test_pick_lists_and_says_what_keeps_the_others_out() -> None:
    text = run("pick", "--max-params", "5M", "--max-macs", "600M", "--min-top1", "70", "--image", "224")
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["mobilenet_v2", "mobilenet"]
    assert "max_params=5M keeps out 39: the nearest is efficientnet_b0 with 5,288,548." in text
    assert read("pick", "--max-macs", "1M")["fits"][0]["name"] == "lenet5_sparse"


def test_scale_shows_its_factors() -> None:
    text = run("scale", "resnet20", "--max-macs", "100M")
    assert "alpha = 1.2 (depth), beta = 1.1 (width), gamma = 1.15 (resolution)" in text
    found = read("scale", "resnet20", "--max-macs", "100M", "--factors", "1", "1.2", "1")
    assert found["cost"]["macs"] <= 1e8
    assert (found["image"], found["depth"]) == (32, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cost",), "No network was named"),
        (("cost", "resnet19"), "Did you mean"),
        (("cost", "xresnet*"), "no network named"),
        (("cost", "vgg16", "--image", "10"), "smallest picture"),
        (("cost", "resnet18", "--layer", "conv9_x"), "Did you mean conv"),
        (("cost", "resnet18", "--what-if", "separable"), "CHANGE=VALUE"),
        (("cost", "resnet18", "--what-if", "groups=48"), "What divides all of them"),
        (("cost", "resnet18", "--what-if", "width=2", "--vs", "vgg11"), "do not go together"),
        (("cost", "resnet18", "vgg11", "--measure"), "several networks and --measure do not go together"),
        (("cost", "resnet18", "--layer", "conv1", "--out", "x.csv"), "--layer and --out"),
        (("cost", "--claims", "--layers"), "--claims and --layers"),
        (("cost", "resnet18", "--claims"), "--claims and resnet18"),
        (("cost", "resnet18", "--vs", ""), "named ''"),
        (("cost", "resnet18", "--out", "nowhere/x.csv"), "no folder to write it into"),
        (("cost", "resnet18", "--out", "x.pdf"), "html, .csv or .json"),
        (("cost", "resnet18", "--batch", "0"), "at least 1"),
        (("cost", "resnet18", "--optimizer", "adamx"), "Did you mean adam"),
        (("cost", "resnet18", "--max-memory", "lots"), "800K, 5M"),
        (("cost", "resnet18", "--device", "tpu", "--measure"), "tpu"),
        (("pick", "--max-params", "10"), "the nearest is lenet5_sparse"),
        (("scale", "resnet18"), "name a budget"),
        (("scale", "resnet18", "--max-macs", "1K"), "convista pick"),
    ],
)
def test_wrong_input_ends_in_one_clear_message(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConvistaError, match=said) as caught:
        run(*words)
    assert caught.value.exit_code == 2
