"""`convista compare` puts runs side by side, says what cannot be compared, and survives odd runs."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import convista
from conftest import make_photos
from convista.cli.app import app
from convista.errors import ConvistaError, InputError, InterruptedRunError, RunError
from convista.reports import comparison_page
from convista.tasks import Run
from convista.training import Console

FAST: dict[str, Any] = {"model": "lenet5", "epochs": 2, "batch": 16}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("compare")
    data, other = make_photos(root / "photos", each=24), make_photos(root / "others", ("red", "green"))

    def stopped() -> bool:
        return (root / "half" / "metrics.csv").exists()  # behind the first epoch

    found = {
        "a": convista.train(data, lr=0.003, out=root / "a", tensorboard=True, **FAST).path,
        "b": convista.train(data, lr=0.003, seed=1, out=root / "b", **FAST).path,
        "c": convista.train(data, lr=0.001, out=root / "c <b>&\"'", **FAST).path,
        "photos": convista.train(other, out=root / "p", **FAST).path,
        "half": root / "half",
    }
    words = FAST | {"lr": 0.001, "seed": 3}
    with pytest.raises(InterruptedRunError):
        convista.train(data, out=root / "half", tensorboard=True, console=Console(stopped=stopped), **words)
    return found


def command(*words: object) -> str:
    result = CliRunner().invoke(app, ["compare", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_only_words_that_differ_are_shown(runs: dict[str, Path]) -> None:
    found = convista.compare(runs["a"], runs["c"])
    assert found.differing == ("lr",)
    assert [run.words["lr"] for run in found.runs] == [0.003, 0.001]
    assert found.warnings == found.notes == ()
    with pytest.raises(FrozenInstanceError):
        found.differing = ()  # type: ignore[misc]


def test_figures_are_those_of_the_runs(runs: dict[str, Path]) -> None:
    found, run = convista.compare(runs["a"]).runs[0], Run.load(runs["a"])
    assert found.test == {key: getattr(run.test, key) for key in ("top1", "top5", "loss", "ece")}
    assert found.val["top1"] == run.val.top1
    assert found.test_floor == run.test.floor
    assert (found.params, found.macs) == (run.cost.params, run.cost.macs)
    assert found.best_epoch == run.info["best_epoch"]
    assert found.seconds == pytest.approx(run.info["seconds"], abs=0.01)
    assert list(found.history) == run.history


def test_runs_that_differ_in_their_seed_make_one_setting(runs: dict[str, Path]) -> None:
    found = convista.compare(runs["a"], runs["c"], runs["b"])
    assert {setting.runs: setting.n for setting in found.settings} == {("a", "b"): 2, (found.runs[1].name,): 1}
    assert found.warnings == ()
    assert "Each seed draws its own test pictures" in found.notes[0]


def test_other_pictures_and_classes_are_warned_of(runs: dict[str, Path], tmp_path: Path) -> None:
    assert "different classes" in convista.compare(runs["a"], runs["photos"]).warnings[0]
    assert len(convista.compare(runs["a"], runs["photos"]).settings) == 2
    rows = (runs["a"] / "split.csv").read_text().splitlines()
    for name, changed in (("fewer", rows[:-1]), ("moved", [row.replace("val,", "test,", 1) for row in rows])):
        shutil.copytree(runs["a"], tmp_path / name)
        (tmp_path / name / "split.csv").write_text("\n".join(changed) + "\n")
    assert "saw different pictures (a | fewer)" in convista.compare(runs["a"], tmp_path / "fewer").warnings[0]
    assert "different test pictures (a | moved)" in convista.compare(runs["a"], tmp_path / "moved").warnings[0]
    assert "Warning: The runs tell different classes apart" in command(runs["a"], runs["photos"])


def test_an_unfinished_run_is_shown_as_such(runs: dict[str, Path]) -> None:
    found = convista.compare(runs["c"], runs["half"])
    assert [run.state for run in found.runs] == ["done", "unfinished"]
    assert len(found.settings) == 1
    assert found.settings[0].n == 1
    assert found.settings[0].others == ("half: unfinished, 1 of 2 epochs",)
    text = command(runs["half"])
    assert "1 of 2 epochs" in text
    assert convista.compare(runs["half"]).runs[0].test == {}


def test_one_run_alone_is_shown(runs: dict[str, Path]) -> None:
    assert convista.compare(Run.load(runs["a"])).differing == ()
    assert "test top-1" in command(runs["a"])


def test_the_same_seed_again_counts_once(runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["a"], tmp_path / "again")
    (setting,) = convista.compare(runs["a"], runs["b"], tmp_path / "again").settings
    assert (setting.n, setting.test["top1"].n) == (2, 2)
    assert setting.others == ("again: done, not counted: seed 0 once more",)
    assert len(setting.runs) == 3


def test_what_runs_began_with_is_part_of_their_setting(tmp_path: Path) -> None:
    words: dict[str, Any] = {"epochs": 2, "limit": 60}
    convista.train("digits", model="lenet5", out=tmp_path / "one", **words)
    convista.train("digits", model="lenet5", out=tmp_path / "other", seed=5, epochs=1)
    convista.train("digits", from_=tmp_path / "one", out=tmp_path / "a", **words)
    convista.train("digits", from_=tmp_path / "other", out=tmp_path / "b", **words)
    convista.train("digits", from_=tmp_path / "one", adapt="pixels", out=tmp_path / "c", **words)
    runs = [tmp_path / name for name in "abc"]
    found = convista.compare(*runs)
    assert found.differing == ("from", "adapt")
    assert [setting.n for setting in found.settings] == [1, 1, 1]
    assert not any(setting.others for setting in found.settings)
    scratch = convista.compare(runs[0], tmp_path / "one")
    assert "from" in scratch.differing
    caution = f"pictures are among those that {tmp_path / 'other'} learned from"
    assert any(note.startswith("b: Caution") and caution in note for note in found.notes)
    page = comparison_page(found)
    assert "that training never saw" not in page
    assert "that training never saw" not in (tmp_path / "b" / "report.html").read_text()
    assert caution in (tmp_path / "b" / "report.html").read_text()
    told = CliRunner().invoke(app, ["eval", str(tmp_path / "b"), "--json"])
    assert caution in told.stderr
    assert caution in json.loads(told.stdout)["cautions"][0]


def test_what_begins_as_a_head_has_an_epoch_0_and_others_begin_at_1(tmp_path: Path) -> None:
    words: dict[str, Any] = {"epochs": 2, "limit": 60}
    convista.train("digits", model="lenet5", out=tmp_path / "one", **words)
    convista.train("digits", from_=tmp_path / "one", out=tmp_path / "a", **words)
    page = comparison_page(convista.compare(tmp_path / "one", tmp_path / "a"))
    lines = {name: points.split() for points, name in re.findall(r'points="([^"]*)"><title>(\w+)', page)[-2:]}
    assert [len(lines["one"]), len(lines["a"])] == [2, 3]
    assert lines["one"][0].split(",")[0] == lines["a"][1].split(",")[0]


def test_a_folder_of_runs_stands_for_all_of_them(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(next(iter(runs.values())), tmp_path / "runs" / name)
    (tmp_path / "runs" / "notes.txt").touch()
    convista.sweep("digits", {"seed": [0, 1]}, model="lenet5", epochs=1, limit=100, out=tmp_path / "runs" / "c")
    found = [Path(run.path) for run in convista.compare(tmp_path / "runs").runs]
    assert [path.relative_to(tmp_path / "runs").parts[0] for path in found] == ["a", "b", "c", "c"]


def test_json_is_one_object_without_anything_that_is_no_number(runs: dict[str, Path], tmp_path: Path) -> None:
    found = json.loads(command(runs["a"], runs["b"], "--json"))
    assert found["differing"] == ["seed"]
    assert found["settings"][0]["test"]["top1"]["n"] == 2
    shutil.copytree(runs["a"], tmp_path / "nan")
    text = (tmp_path / "nan" / "metrics.csv").read_text().splitlines()
    (tmp_path / "nan" / "metrics.csv").write_text(
        "\n".join([text[0], re.sub(r"^(\d+,[^,]+),[^,]+", r"\1,nan", text[1])])
    )
    shown = command(tmp_path / "nan", "--json")
    assert (
        json.loads(shown, parse_constant=lambda name: pytest.fail(name))["runs"][0]["history"][0]["train_loss"] is None
    )


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_offline_and_escapes_names(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    convista.compare(runs["a"], runs["b"], runs["c"], runs["half"], out=out)
    page = out.read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.addresses == []
    assert "http" not in page
    assert "<b>&" not in page
    assert "c <b>&\"'" in reader.text
    assert reader.tags.count("polyline") == 8  # four runs, two figures
    assert "half: unfinished" in reader.text
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page
    drawn = set(re.findall(r'class="line line-(\d+)" points', page))
    assert drawn == {"0", "1"}  # runs of one setting look alike


def test_a_page_says_once_what_is_the_same_for_all(runs: dict[str, Path], tmp_path: Path) -> None:
    convista.compare(runs["a"], runs["c"], out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "The same for all: n 1, floor" in page
    assert "<th>MACs</th>" not in page
    convista.compare(runs["a"], out=tmp_path / "page.html")
    assert "<th>MACs</th>" in (tmp_path / "page.html").read_text()


def test_words_that_change_the_loss_forbid_comparing_it(runs: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs["a"], other)
    info = json.loads((other / "run.json").read_text())
    info["recipe"] |= {"focal": 2.0, "class_weights": True}
    (other / "run.json").write_text(json.dumps(info))
    convista.compare(runs["a"], other, out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Do not compare the training losses: focal, class_weights change what they measure" in page
    assert "<td>on</td>" in page
    assert "True" not in page
    convista.compare(runs["a"], runs["c"], out=tmp_path / "page.html")
    assert "Do not compare" not in (tmp_path / "page.html").read_text()


def test_many_settings_stay_apart_by_colour_and_dash() -> None:
    from convista.reports.comparison import styles

    assert len({pair[1:] for pair in styles()}) == len(styles()) == 24


def test_the_table_holds_every_figure(runs: dict[str, Path], tmp_path: Path) -> None:
    convista.compare(runs["a"], runs["half"], out=tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["run"] for row in rows] == ["a", "half"]
    assert float(rows[0]["test_top1"]) == Run.load(runs["a"]).test.top1
    assert (rows[1]["state"], rows[1]["test_top1"]) == ("unfinished", "")


def break_json(folder: Path) -> None:
    (folder / "run.json").write_text('{"version": 1')


def lose_recipe(folder: Path) -> None:
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({key: info[key] for key in info if key != "recipe"}))


def lose_scores(folder: Path) -> None:
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"val": None}))


def lose_labels(folder: Path) -> None:
    (folder / "labels.json").unlink()


def cut_metrics(folder: Path) -> None:
    (folder / "metrics.csv").write_text("epoch,lr\n1\n")


@pytest.mark.parametrize("damage", [break_json, lose_recipe, lose_scores, lose_labels, cut_metrics])
def test_a_damaged_run_ends_in_one_clear_message(runs: dict[str, Path], tmp_path: Path, damage: Any) -> None:
    shutil.copytree(runs["a"], tmp_path / "broken")
    damage(tmp_path / "broken")
    with pytest.raises(RunError, match=r"broken.*(damaged|not complete)"):
        convista.compare(runs["b"], tmp_path / "broken")


def test_wrong_input_ends_in_one_clear_message(runs: dict[str, Path], tmp_path: Path) -> None:
    for words, said in (
        ((tmp_path,), "There is no run folder at"),
        ((runs["a"], runs["a"] / "." / ".." / "a"), "is given twice"),
        ((runs["a"] / "run.json",), "is a file; expected a run folder"),
        ((runs["a"], "--out", "x.pdf"), r"ends in \.html or \.csv"),
        ((runs["a"], "--out", tmp_path / "no" / "x.csv"), "There is no folder"),
    ):
        with pytest.raises(ConvistaError, match=said) as caught:
            command(*words)
        assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="No run was given"):
        convista.compare()


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_holds_each_epoch_once(runs: dict[str, Path]) -> None:
    run = Run.load(runs["a"])
    found = events(run.path / "tensorboard")
    assert found["loss/train"] == [(row.epoch, pytest.approx(row.train_loss)) for row in run.history]
    assert found["top1/val"] == [(row.epoch, pytest.approx(row.val_top1)) for row in run.history]
    assert len(found) == 8
    assert not (runs["b"] / "tensorboard").exists()


def test_tensorboard_goes_on_with_a_resumed_run(runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "half")
    assert [step for step, _ in events(tmp_path / "half" / "tensorboard")["lr"]] == [1]
    run = convista.train(resume=tmp_path / "half")
    assert [step for step, _ in events(run.path / "tensorboard")["lr"]] == [1, 2]


def test_without_tensorboard_the_extra_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convista.training.board.find_spec", lambda name: None)
    for call in (convista.train, lambda *words, **more: convista.sweep(*words, ["seed=0..1"], **more)):
        with pytest.raises(InputError, match=re.escape("pip install 'convista[track]'")):
            call("digits", out=tmp_path / "run", tensorboard=True, **FAST)
        assert not (tmp_path / "run").exists()
