"""Networks are ranked on the user's own pictures: what is said was measured, and what cannot be had is listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import convista
from convista.catalogue import Budget, catalogue
from convista.cli.app import app
from convista.data import open_source
from convista.errors import DataError, InputError, UnknownNameError
from convista.transfer import Ranked, Ranking, classified, evidence, pretrained
from convista.transfer.ranking import _candidates, _sorted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that has seen digits."""
    folder = tmp_path_factory.mktemp("pretrained")
    convista.train("digits", model="resnet20", channels=3, image=8, epochs=1, limit=100, out=folder / "run")
    return folder / "run"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be fetched, and nothing is tried for long."""
    from urllib.error import URLError

    from convista.models.weights import fetch

    def refused(*_: object, **__: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setattr(fetch, "urlopen", refused)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_networks_are_ranked_by_the_probe_on_these_pictures(photos: Path, run: Path, no_network: None) -> None:
    file = run / "model.safetensors"
    found = convista.pick(run, f"resnet20={file}", "resnet18", f"vgg11={file}", from_data=photos)
    assert isinstance(found, Ranking)
    assert (found.pictures, found.classes) == (36, 3)
    assert found.floor == pytest.approx(1 / 3)
    assert {one.name for one in found.networks} == {str(run), "resnet20"}
    begin = pretrained(str(run))
    part, _ = classified(open_source(photos), begin.view, 1000)
    expected = evidence(begin, part, torch.device("cpu"))
    assert {one.top1 for one in found.networks} == {expected.top1}  # the same weights, by two names
    assert found.networks[0].error == expected.error
    assert found.networks[0].macs == convista.cost("resnet20", image=8).macs
    assert all(one.front and one.seconds > 0 for one in found.networks)
    why = {one.name: one.why for one in found.left_out}
    assert set(why) == {"resnet18", f"vgg11={file}"}
    assert "resnet18=FILE" in why["resnet18"]
    assert "resnet20" in why[f"vgg11={file}"] or "fit" in why[f"vgg11={file}"]
    assert json.loads(json.dumps(found.to_json()))["networks"][0]["top1"] == expected.top1


def test_the_front_is_what_nothing_is_both_cheaper_and_better_than() -> None:
    def one(name: str, top1: float, macs: int) -> Ranked:
        return Ranked(name, None, top1, 0.01, 8, 1, macs, 0.1)

    found = _sorted([one("a", 0.5, 10), one("b", 0.9, 100), one("c", 0.8, 200), one("d", 0.9, 100), one("e", 0.5, 9)])
    assert [row.name for row in found] == ["b", "d", "c", "e", "a"]
    assert {row.name for row in found if row.front} == {"b", "d", "e"}


def test_without_names_all_with_published_weights_are_tried_within_the_budget() -> None:
    console = convista.Console()
    tried = [one.name for one in _candidates([], Budget(max_params="5M"), console)]
    rows = catalogue()
    assert tried
    assert all(rows[name].weights and rows[name].params <= 5e6 for name in tried)
    named = _candidates(["resnet50", "resnet20=w.safetensors"], Budget(max_params="5M"), console)
    assert [one.why for one in named] == ["It is outside the budget.", ""]
    assert [one.why for one in _candidates(["resnet50"], Budget(), console)] == [""]


def test_where_no_weights_can_be_had_one_error_says_how_to_give_them(photos: Path, no_network: None) -> None:
    with pytest.raises(InputError, match="No network could be tried") as caught:
        convista.pick("resnet18", "resnet34", from_data=photos)
    assert "mobilenet_v2=FILE" in str(caught.value)
    assert "and 1 others" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words", "kind", "said"),
    [
        ("resnet81", {}, UnknownNameError, "Did you mean resnet18"),
        ("resnet18=", {}, InputError, "resnet18=FILE"),
        ("resnet18", {"image": 96}, InputError, "what its weights ask for"),
        ("resnet18", {"max_param": "5M"}, UnknownNameError, "max_params"),
        ("resnet18", {"limit": 1}, InputError, "at least 4"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_computed(
    name: str, words: dict[str, Any], kind: type[Exception], said: str, photos: Path
) -> None:
    with pytest.raises(kind, match=said):
        convista.pick(name, from_data=photos, **words)


def test_networks_are_for_pictures_only(photos: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without --from-data"):
        convista.pick("resnet18")
    with pytest.raises(DataError):
        convista.pick(run, from_data=tmp_path / "nowhere")
    with pytest.raises(DataError, match="no class folder"):
        convista.pick(run, from_data=photos / "red")


def test_the_command_prints_a_table_or_one_object(photos: Path, run: Path, tmp_path: Path) -> None:
    words = ["pick", "--from-data", str(photos), str(run)]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.exception
    assert "floor 0.333" in shown.stdout
    told = json.loads(CliRunner().invoke(app, [*words, "--json", "--out", str(tmp_path / "f.csv")]).stdout)
    assert told["networks"][0]["front"] is True
    assert (tmp_path / "f.csv").read_text().startswith("name,")
    page = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "f.html")])
    assert isinstance(page.exception, InputError)
    alone = CliRunner().invoke(app, ["pick", "resnet18"])
    assert isinstance(alone.exception, InputError)


def test_a_run_that_has_learned_from_the_pictures_is_marked(photos: Path, run: Path) -> None:
    found = convista.pick(run, from_data="digits")
    learned = [split for split in convista.Run.load(run).splits.values() if split != "test"]
    assert found.networks[0].learned == len(learned)
    assert f"has learned from {len(learned)} of these" in str(found)
    assert "has learned" not in str(convista.pick(run, from_data=photos))
