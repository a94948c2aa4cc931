"""A sweep trains every combination, goes on where it was stopped, and lets no failure stop the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import convista as package
from conftest import make_photos
from convista.cli.app import app
from convista.data import steps_in_epoch
from convista.errors import DivergedError, InputError, InterruptedRunError, RunError
from convista.tasks import Comparison, Run, axis, parse_axes, read_recipe
from convista.tasks import sweep as sweeping
from convista.training import Console, Training
from convista.verbs import sweep, train

FAST: dict[str, Any] = {"model": "lenet5", "epochs": 1, "batch": 16}
WORDS = ("--model", "lenet5", "--epochs", "1", "--batch", "16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("sweep") / "photos", each=24)


@pytest.fixture(scope="module")
def swept(data: Path) -> tuple[Path, Comparison]:
    folder = data.parent / "s"
    return folder, sweep(data, {"lr": [1e-3, 3e-3], "seed": range(2)}, out=folder, **FAST)


def command(*words: object) -> str:
    result = CliRunner().invoke(app, ["train", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def weights(folder: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in folder.glob("*/model.safetensors")}


def test_every_combination_has_its_run_folder(swept: tuple[Path, Comparison]) -> None:
    folder, found = swept
    names = ["lr=0.001,seed=0", "lr=0.001,seed=1", "lr=0.003,seed=0", "lr=0.003,seed=1"]
    assert [run.name for run in found.runs] == names
    for name in names:
        run = Run.load(folder / name)
        assert f"lr={run.recipe.lr},seed={run.recipe.seed}" == name
        assert (run.recipe.model, run.recipe.batch) == ("lenet5", 16)
        assert (folder / name / "report.html").exists()
    record = json.loads((folder / "sweep.json").read_text())
    assert record["sweep"] == {"lr": [0.001, 0.003], "seed": [0, 1]}


def test_settings_have_mean_and_sample_deviation_best_first(swept: tuple[Path, Comparison]) -> None:
    folder, found = swept
    assert found.differing == ("lr", "seed")
    assert sorted(setting.words["lr"] for setting in found.settings) == [0.001, 0.003]
    best, worse = found.settings
    assert best.val["top1"].mean >= worse.val["top1"].mean
    for setting in found.settings:
        a, b = (Run.load(folder / name).test.loss for name in setting.runs)
        spread = setting.test["loss"]
        assert (setting.n, spread.n) == (2, 2)
        assert spread.mean == pytest.approx((a + b) / 2)
        assert spread.spread == pytest.approx(abs(a - b) / 2**0.5)
        assert setting.test_floor["top1"] == pytest.approx(1 / 3)


def test_a_run_of_a_sweep_is_the_run_that_one_trains_alone(
    data: Path, swept: tuple[Path, Comparison], tmp_path: Path
) -> None:
    alone = train(data, lr=3e-3, seed=1, out=tmp_path / "alone", **FAST)
    assert (alone.path / "model.safetensors").read_bytes() == weights(swept[0])["lr=0.003,seed=1"]


def test_a_sweep_that_was_stopped_goes_on_to_the_same_bytes(
    data: Path, swept: tuple[Path, Comparison], tmp_path: Path
) -> None:
    folder, asked = tmp_path / "s", 0
    steps = steps_in_epoch(Run.load(swept[0] / "lr=0.001,seed=0").info["splits"]["train"], 16)

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked == steps + 4  # before each run, and behind each step: in the second run

    with pytest.raises(InterruptedRunError, match=r"run 2 of 4.*convista train --resume .*s$"):
        sweep(data, {"lr": [1e-3, 3e-3], "seed": range(2)}, out=folder, console=Console(stopped=stopped), **FAST)
    states = {run.parent.name: Run.load(run.parent).done for run in folder.glob("*/run.json")}
    assert states == {"lr=0.001,seed=0": True, "lr=0.001,seed=1": False}
    assert [run.state for run in package.compare(folder).runs] == ["done", "unfinished", "not begun", "not begun"]
    with pytest.raises(InputError, match=r"call convista\.sweep"):
        train(resume=folder)
    before = (folder / "lr=0.001,seed=0" / "run.json").stat().st_mtime_ns
    found = sweep(resume=folder)
    assert [run.state for run in found.runs] == ["done"] * 4
    assert weights(folder) == weights(swept[0])
    assert (folder / "lr=0.001,seed=0" / "run.json").stat().st_mtime_ns == before


def test_a_run_that_fails_is_a_row_with_its_reason(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Training.run

    def run(self: Training) -> Any:
        if self.recipe.lr == 9.0:
            raise DivergedError("The loss was not a number.")
        return whole(self)

    monkeypatch.setattr(Training, "run", run)
    said: list[str] = []
    found = sweep(data, ["lr=9,0.001"], out=tmp_path / "s", console=Console(say=said.append), **FAST)
    assert [run.state for run in found.runs] == ["diverged", "done"]
    assert found.settings[0].n == 1
    assert found.settings[0].test["top1"].spread is None
    assert found.settings[1].n == 0
    assert found.settings[1].others[0].startswith("lr=9.0: diverged (The loss was not a number. Or look for one: ")
    assert any("run 1 of 2, lr=9.0: failed. The loss was not" in line for line in said)
    again = sweep(resume=tmp_path / "s")  # what failed would fail again
    assert again.to_json() == found.to_json()


def test_a_sweep_can_be_done_again_by_its_folder(swept: tuple[Path, Comparison]) -> None:
    plan = read_recipe(swept[0])
    assert plan.words == FAST
    assert plan.sweep == {"lr": (0.001, 0.003), "seed": (0, 1)}


def test_a_comparison_prints_a_line_for_each_setting(swept: tuple[Path, Comparison]) -> None:
    lines = str(swept[1]).splitlines()
    assert lines[0].startswith(f"lr {swept[1].settings[0].words['lr']}: n 2, val top-1 ")
    assert lines[0].endswith("(floor 0.333)")
    assert len(repr(swept[1])) < 10_000  # the curves are not in it


def test_axes_are_typed_by_the_recipe() -> None:
    assert parse_axes(["lr=1,2e-3", "seed=-1..1,7 flip=yes,off,none", "model=lenet5", "label-smoothing=0"]) == {
        "lr": (1.0, 0.002), "seed": (-1, 0, 1, 7), "flip": (True, False, None), "model": ("lenet5",),
        "label_smoothing": (0.0,),
    }  # fmt: skip


def test_axes_may_come_from_numpy() -> None:
    assert axis("seed", np.arange(2)) == (0, 1)
    assert all(type(value) is float for value in axis("lr", np.geomspace(1e-4, 1e-2, 3)))


@pytest.mark.parametrize(
    ("axes", "words", "said"),
    [
        (["lrr=1"], {}, "no option named 'lrr'. Did you mean lr"),
        (["lr"], {}, "expected a word and its values"),
        (["lr="], {}, "expected a word and its values"),
        (["lr=1,,2"], {}, "lr=nothing is to be swept; expected a number"),
        (["epochs=1.5"], {}, "epochs=1.5 is to be swept; expected a whole number"),
        (["flip=maybe"], {}, "expected true or false"),
        (["seed=4..0"], {}, "from the smaller number"),
        (["seed=0..99999999999"], {}, "more than 1,000"),
        (["seed=0..99", "epochs=1..11"], {}, "more than 1,000 runs"),
        (["lr=1e-3,0.001"], {}, "lr=0.001 is to be swept twice"),
        (["lr=1 lr=2"], {}, "lr is swept already"),
        (["lr=0.1,-1"], {}, r"run lr=-1.0: lr=-1.0 was given; it must be at least 0"),
        (["lr=0.1,nan"], {}, "finite"),
        (["lr=0.1,0.2"], {"lr": 0.3}, "given once"),
        (["batch=8,64", "accumulate=1,16"], {}, "run batch=8,accumulate=16"),
        (["model=lenet5,lenet6"], {}, "no network named 'lenet6'"),
        (["image=32,2"], {"model": "lenet5"}, "run image=2"),
        (["optimizer=sgd,adams"], {}, "Did you mean adam"),
        (["augment=light,rotatte=3"], {"model": "lenet5"}, "rotate"),
        ([], {}, "Nothing to sweep over"),
        ({"lr": 0.1}, {}, "expected a list of values"),
        ({"lr": []}, {}, "no value at all"),
        ({"lr": "x"}, {}, "expected a number"),
        (["seed=0..1"], {"epoch": 1}, "Did you mean epochs"),
    ],
)
def test_wrong_axes_are_refused_before_anything_is_trained(
    tmp_path: Path, axes: Any, words: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        sweep("digits", axes, out=tmp_path / "s", **({"epochs": 1} | words))
    assert said in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_nothing_is_left_where_the_data_is_no_good(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        sweep(tmp_path / "nowhere", ["seed=0..1"], out=tmp_path / "a" / "s")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError):
        sweep(tmp_path / "photos", ["seed=0..1"], out=tmp_path / "a" / "s", **FAST)
    assert not (tmp_path / "a").exists()


def test_a_taken_folder_says_how_to_go_on(swept: tuple[Path, Comparison], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="convista train --resume"):
        sweep("digits", ["seed=0..1"], out=swept[0], **FAST)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").touch()
    with pytest.raises(RunError, match="Choose another --out"):
        sweep("digits", ["seed=0..1"], out=tmp_path / "s", **FAST)


def test_under_torchrun_a_sweep_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="without torchrun"):
        sweep("digits", ["seed=0..1"], **FAST)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 1}', '{"version": 1, "runs": [{"folder": "../x", "words": {}}]}']
)
def test_a_damaged_record_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(RunError, match=r"sweep\.json is damaged"):
        sweep(resume=tmp_path)


def test_odd_words_make_names_that_a_disk_takes() -> None:
    names = sweeping.folders([{"model": "a/b:c"}, {"model": "a:b/c"}, {"model": "x" * 500}, {"model": ".."}])
    assert names[:2] == ["model=a_b_c", "2-model=a_b_c"]
    assert all(len(name) < 200 and "/" not in name for name in names)


def test_the_command_takes_axes_as_one_writes_them(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = json.loads(command(data, *WORDS, "--sweep", "lr=1e-3,3e-3", "seed=0..0", "--json"))
    assert found["sweep"] == "runs/photos-sweep"
    assert [run["name"] for run in found["runs"]] == ["lr=0.001,seed=0", "lr=0.003,seed=0"]
    assert found["settings"][0]["test"]["top1"]["spread"] is None
    again = command("--resume", "runs/photos-sweep")
    assert again.splitlines()[0].split()[:2] == ["lr", "n"]
    assert "± –" in again
    with pytest.raises(InputError, match="give no --sweep beside --resume"):
        command("--resume", "runs/photos-sweep", "--sweep", "lr=1")
    with pytest.raises(InputError, match=r"To sweep over values, say: --sweep seed=0\.\.1"):
        command("digits", "seed=0..1")
    with pytest.raises(InputError, match="one folder of pictures at a time: digits, photos"):
        command("digits", "photos", "--sweep", "seed=0..1")


def test_a_recipe_can_hold_the_sweep_and_words_given_win(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'model = "lenet5"\nepochs = 1\nbatch = 16\n[sweep]\nlr = [0.001, 0.003]\nseed = "0..1"\n'
    (tmp_path / "r.toml").write_text(text)
    found = json.loads(command(data, "--recipe", "r.toml", "--seed", 5, "--sweep", "lr=0.002", "--json"))
    assert [run["name"] for run in found["runs"]] == ["lr=0.002"]
    assert found["runs"][0]["words"]["seed"] == 5
    with pytest.raises(InputError, match=r"call convista\.sweep"):
        train("digits", recipe=tmp_path / "r.toml")
    run = json.loads(command(data, "--recipe", "r.toml", "--seed", 5, "--lr", 0.002, "--json", "--out", "o"))
    assert run["run"] == "o"  # no axis is left: one run


def test_ctrl_c_ends_with_130_and_how_to_go_on(tmp_path: Path) -> None:
    words = ["digits", "--model", "lenet5", "--epochs", "200", "--sweep", "seed=0..1", "--out", "s"]
    command = [sys.executable, "-m", "convista", "train", *words]
    process = subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "s" / "seed=0" / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert errors.splitlines()[-1].endswith("everything is saved. Go on with: convista train --resume s")
