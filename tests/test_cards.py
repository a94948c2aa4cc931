"""The catalogue tells the truth: its counts are the networks', its figures have sources, its bounds bind."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torchvision
from torch import nn

import convista as package
from conftest import Call, json_of
from convista.blocks import Chain, Conv, Head
from convista.catalogue import TABLE, amount, catalogue, find
from convista.errors import InputError, UnknownNameError
from convista.models import NETWORKS, Card
from convista.pricing import facts as computed
from convista.pricing.keras_table import keras_table
from convista.reports.accuracy import accuracy_plot
from convista.reports.labels import Disc, place

IMAGENET = "ImageNet-1k val"

# The Keras documentation: size in MB, top-1, top-5, parameters, depth.
KERAS = {
    "Xception": (88, 79.0, 94.5, 22_910_480, 81),
    "VGG16": (528, 71.3, 90.1, 138_357_544, 16),
    "VGG19": (549, 71.3, 90.0, 143_667_240, 19),
    "ResNet50": (98, 74.9, 92.1, 25_636_712, 107),
    "ResNet101": (171, 76.4, 92.8, 44_707_176, 209),
    "ResNet152": (232, 76.6, 93.1, 60_419_944, 311),
    "ResNet50V2": (98, 76.0, 93.0, 25_613_800, 103),
    "ResNet101V2": (171, 77.2, 93.8, 44_675_560, 205),
    "ResNet152V2": (232, 78.0, 94.2, 60_380_648, 307),
    "InceptionV3": (92, 77.9, 93.7, 23_851_784, 189),
    "InceptionResNetV2": (215, 80.3, 95.3, 55_873_736, 449),
    "MobileNet": (16, 70.4, 89.5, 4_253_864, 55),
    "MobileNetV2": (14, 71.3, 90.1, 3_538_984, 105),
    "DenseNet121": (33, 75.0, 92.3, 8_062_504, 242),
    "DenseNet169": (57, 76.2, 93.2, 14_307_880, 338),
    "DenseNet201": (80, 77.3, 93.6, 20_242_984, 402),
    "NASNetMobile": (23, 74.4, 91.9, 5_326_716, 389),
    "NASNetLarge": (343, 82.5, 96.0, 88_949_818, 533),
    "EfficientNetB0": (29, 77.1, 93.3, 5_330_571, 132),
    "EfficientNetB1": (31, 79.1, 94.4, 7_856_239, 186),
    "EfficientNetB2": (36, 80.1, 94.9, 9_177_569, 186),
    "EfficientNetB3": (48, 81.6, 95.7, 12_320_535, 210),
    "EfficientNetB4": (75, 82.9, 96.4, 19_466_823, 258),
    "EfficientNetB5": (118, 83.6, 96.7, 30_562_527, 312),
    "EfficientNetB6": (166, 84.0, 96.8, 43_265_143, 360),
    "EfficientNetB7": (256, 84.3, 97.0, 66_658_687, 438),
}
# Keras' files at the time were larger than their weights, by a megabyte or two; in one case by nine.
LARGER = {"EfficientNetB0": 9}


def test_every_network_has_a_row() -> None:
    assert set(catalogue()) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_computed_columns_are_what_the_network_says(name: str) -> None:
    row = asdict(catalogue()[name])
    said = computed.facts(NETWORKS[name])
    assert {key: row[key] for key in said} == said, "run make tables"
    assert NETWORKS[name].published is catalogue()[name]


def test_making_the_table_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "published.csv"
    copy.write_bytes(TABLE.read_bytes())
    rows = {name: {key: row[key] for key in computed.COLUMNS[:8]} for name, row in _raw().items()}
    monkeypatch.setattr(computed, "TABLE", copy)
    monkeypatch.setattr(computed, "facts", lambda card: rows[card.name])
    computed.main()
    assert copy.read_bytes() == TABLE.read_bytes()


def _raw() -> dict[str, dict[str, str]]:
    with TABLE.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("row", catalogue().values(), ids=lambda row: row.name)
def test_a_figure_has_a_source_and_none_has_no_source(row) -> None:
    assert (row.top1 is None) == (row.source == "") == (row.protocol == "")
    assert row.dataset in (IMAGENET, "CIFAR-10 test", "MNIST test")
    if row.top1 is None:
        assert (row.top5, row.licence, row.checked) == (None, "", False)
    elif row.top5 is not None:
        assert 0 < row.top1 < row.top5 < 100
    assert (row.dataset == IMAGENET) == (NETWORKS[row.name].classes == 1000)
    assert not row.licence or not row.source.startswith("paper")


def test_torchvisions_figures_are_torchvisions() -> None:
    theirs = {"alexnet_owt": "alexnet", "googlenet_tv": "googlenet"}
    rows = [row for row in catalogue().values() if row.source.startswith("torchvision")]
    assert len(rows) == 32
    for row in rows:
        weights = torchvision.models.get_model_weights(theirs.get(row.name, row.name))["IMAGENET1K_V1"]
        figures = weights.meta["_metrics"]["ImageNet-1K"]
        assert (row.top1, row.top5) == (figures["acc@1"], figures["acc@5"])
        assert row.protocol == f"one crop {weights.transforms().crop_size[0]}"


def test_depth_counts_convolutions_and_fully_connected_layers() -> None:
    depths = {name: catalogue()[name].depth for name in ("vgg16", "densenet121", "resnet110", "lenet5", "resnet50")}
    assert depths == {"vgg16": 16, "densenet121": 121, "resnet110": 110, "lenet5": 5, "resnet50": 54}


def test_a_network_of_ones_own_needs_no_row() -> None:
    mine = Card("mine", "mine", NETWORKS["resnet18"].paper, lambda classes: Chain(c=Conv(8), head=Head(classes)))
    assert mine.published is None
    assert computed.facts(mine)["params"] == 3 * 8 * 9 + 16 + 9000
    assert computed.depth(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(8, 2))) == 2


@pytest.fixture(scope="module")
def table():
    return {row.model: row for row in keras_table()}


def test_the_keras_table_is_complete(table) -> None:
    assert list(table) == list(KERAS)


@pytest.mark.parametrize("name", KERAS)
def test_a_row_of_the_keras_table_is_the_documentations(table, name: str) -> None:
    row = table[name]
    assert (row.size, row.top1, row.top5, row.params, row.depth) == KERAS[name]
    assert row.conv_fc == catalogue()[row.network].depth
    assert -0.5 < row.size - row.weights < LARGER.get(name, 4)
    published = catalogue()[row.network]
    if published.source == "Keras documentation":
        assert (published.top1, published.top5) == (row.top1, row.top5)


@pytest.mark.parametrize(
    ("text", "number"), [("5M", 5e6), ("1.5g", 1.5e9), ("800K", 8e5), (".5 M", 5e5), ("12", 12), (3e6, 3e6), (7, 7)]
)
def test_amounts_have_suffixes(text: str | float, number: float) -> None:
    assert amount("max_params", text) == number


@pytest.mark.parametrize("text", ["5X", "-3M", "0", "", "M", "1,5M", "nan", "inf", "5MM", "5 000"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"max_macs={text} was given; expected a positive number")):
        find(max_macs=text)


def test_bounds_bind() -> None:
    rows = package.find(max_params="10M", max_macs=1e9, min_top1=75)
    assert {row.name for row in rows} == {
        "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "mobilenet_v2_140",
    }  # fmt: skip
    assert len(find()) == len(NETWORKS)
    assert {row.family for row in find(family="vgg")} == {"vgg"}


def test_accuracies_on_different_pictures_are_never_compared() -> None:
    assert {row.dataset for row in find(min_top1=1)} == {IMAGENET}
    assert [row.name for row in find(family="resnet_cifar", min_top1=93)] == ["resnet56", "resnet110"]
    ordered = find(sort="top1")
    assert [row.dataset for row in ordered] == sorted(
        (row.dataset for row in ordered), key=lambda dataset: (dataset != IMAGENET, dataset)
    )
    assert ordered[0].name == "efficientnet_b7"
    known = [row for row in ordered if row.dataset == IMAGENET]
    assert [row.top1 for row in known] == sorted((row.top1 for row in known), reverse=True)


@pytest.mark.parametrize("order", ["name", "year", "params", "macs", "image"])
def test_the_list_is_sorted_smallest_first_and_stably(order: str) -> None:
    values = [getattr(row, order) for row in find(sort=order)]
    assert values == sorted(values)
    place = {name: i for i, name in enumerate(catalogue())}
    keys = [(getattr(row, order), place[row.name]) for row in find(sort=order)]
    assert keys == sorted(keys)


def test_nothing_found_says_which_bound_excludes_what() -> None:
    with pytest.raises(InputError) as caught:
        find(max_params="5K", min_top1=80)
    assert "None of 68 networks fits: max_params=5K excludes 68 of them" in str(caught.value)
    assert "the smallest is lenet5_sparse with 60,000" in str(caught.value)
    assert "the best on ImageNet-1k val is efficientnet_b7 with 84.122" in str(caught.value)
    with pytest.raises(InputError, match=r"the best on CIFAR-10 test is resnet110 with 93\.39"):
        find(family="resnet_cifar", min_top1=99)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"family": "resnett"}, "There is no family named 'resnett'. Did you mean resnet"),
        ({"sort": "parms"}, "There is no order named 'parms'. Did you mean params"),
        ({"min_top1": 0.75}, "expected per cent between 1 and 100"),
        ({"min_top1": float("nan")}, "expected per cent"),
        ({"max_parms": "5M"}, "There is no bound named 'max_parms'. Did you mean max_params"),
    ],
)
def test_wrong_bounds_are_explained(words, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        find(**words)


def test_the_list_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['convista', 'models', '--sort', 'macs']\n"
        "from convista.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'jinja2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(NETWORKS) + 1


def test_the_list_says_where_a_figure_is_not_like_the_others(convista: Call) -> None:
    lines = {line.split()[0]: line for line in convista("models").stdout.splitlines()}
    assert lines["resnet50_v2"].endswith("judged at 288")
    assert lines["resnet20"].endswith("CIFAR-10 test")
    assert lines["zfnet"].endswith("61.6?  83.5?")
    assert lines["resnet50"].endswith("92.9")


def test_models_shows_one_card(convista: Call) -> None:
    done = convista("models", "resnet50")
    assert done.returncode == 0
    told = re.sub(r"\s+", " ", done.stdout)
    assert "He, Zhang, Ren, Sun, 2015" in told
    assert "v1.5" in told
    assert "top-1 76.13, top-5 92.862 per cent on ImageNet-1k val, one crop 224 (torchvision IMAGENET1K_V1" in told
    assert "BSD-3-Clause" in told
    assert "mean 0.485, 0.456, 0.406" in told
    assert "25,557,032 parameters" in told
    assert "from memory" in convista("models", "zfnet").stdout
    answer = json_of(convista("models", "lenet5", "--json"))
    assert answer["paper"]["year"] == 1998
    assert answer["top1"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet81",), "There is no network named 'resnet81'. Did you mean resnet18"),
        (("--max-params", "5X"), "max_params=5X was given"),
        (("--family", "cifar", "--max-params", "1K"), "There is no family named 'cifar'"),
        (("--plot", "x.png"), "give a name that ends in .svg"),
        (("--plot", "none/such/x.svg"), "cannot be written"),
        (("resnet18", "--sort", "name"), "give one of them"),
        (("--keras-table", "--max-macs", "1G"), "give one of them"),
        (("--min-top1", "99"), "min_top1=99 excludes 68 of them"),
    ],
)
def test_what_models_cannot_do_ends_in_exit_code_2(convista: Call, words: tuple[str, ...], message: str) -> None:
    done = convista("models", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_keras_table_is_printed(convista: Call) -> None:
    lines = convista("models", "--keras-table").stdout.splitlines()
    assert len(lines) == 27
    assert "NASNetMobile            23        20.3   74.4   91.9    5,326,716    389        357  nasnet_mobile" in lines
    assert json_of(convista("models", "--keras-table", "--json"))[0]["params"] == 22_910_480


def drawn(svg: str) -> tuple[list[ElementTree.Element], str]:
    """The discs of a drawing, and all its text."""
    root = ElementTree.fromstring(svg)
    groups = root.findall("{http://www.w3.org/2000/svg}g")
    return groups, " ".join(element.text or "" for element in root.iter())


def test_the_plot_has_a_disc_and_a_label_for_each_network_judged(tmp_path: Path, convista: Call) -> None:
    done = convista("models", "--plot", "plot.svg", "--json")
    assert len(json_of(done)) == len(NETWORKS)
    discs, text = drawn((tmp_path / "plot.svg").read_text())
    judged = [row for row in catalogue().values() if row.dataset == IMAGENET and row.top1 is not None]
    assert len(discs) == len(judged) == 55
    assert all(f" {row.name} " in text for row in judged)
    assert "Left out: 4 without a published figure, 9 judged on other data." in text
    assert "log" in text
    dearer = {row.name for row in judged if row.judged_at > row.image}
    assert dearer == {"efficientnet_b2", "resnet50_v2", "resnet101_v2", "resnet152_v2"}
    assert "Dashed: 4 judged on larger pictures" in text
    assert sum("dearer" in (disc[1].get("class") or "") for disc in discs) == 4


def test_the_area_of_a_disc_is_the_number_of_parameters() -> None:
    rows = find(family="vgg")
    discs, _ = drawn(accuracy_plot(rows, IMAGENET))
    circle = "{http://www.w3.org/2000/svg}circle"
    radius = {group[0].text.split(":")[0]: float(group.find(circle).get("r")) for group in discs}  # type: ignore[union-attr]
    for row in rows:
        assert radius[row.name] ** 2 / radius["vgg19"] ** 2 == pytest.approx(
            row.params / catalogue()["vgg19"].params, rel=0.01
        )


def test_a_plot_of_one_family_is_on_its_own_data_and_one_or_no_disc_is_no_fault(tmp_path: Path, convista: Call) -> None:
    convista("models", "--family", "resnet_cifar", "--plot", "cifar.svg")
    discs, text = drawn((tmp_path / "cifar.svg").read_text())
    assert len(discs) == 6
    assert "CIFAR-10 test" in text
    assert IMAGENET not in text
    assert len(drawn(accuracy_plot([catalogue()["zfnet"]], IMAGENET))[0]) == 1
    assert "1 without a published figure" in drawn(accuracy_plot([catalogue()["lenet5"]], IMAGENET))[1]
    odd = replace(catalogue()["zfnet"], name="<b>", source="a & b")
    assert "<b>" in drawn(accuracy_plot([odd], IMAGENET))[1]


def test_labels_stay_inside_and_apart_where_there_is_room() -> None:
    discs = [Disc(f"network{i}", 100.0 + 60 * (i % 5), 100.0 + 40 * (i // 5), 5.0) for i in range(20)]
    labels = place(discs, (0, 0, 500, 300))
    assert len(labels) == 20
    assert all(0 < label.x < 500 and 0 < label.y < 300 for label in labels)
    assert len({(round(label.x), round(label.y)) for label in labels}) == 20


def test_unknown_names_are_an_input_error() -> None:
    with pytest.raises(UnknownNameError):
        find(family="")
