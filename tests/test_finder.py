"""The learning-rate finder suggests a rate that trains, ends cleanly where the loss does not, and leaves nothing."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console as Terminal
from typer.testing import CliRunner

import convista
from convista.cli.app import app
from convista.cli.console import _Display, duration
from convista.errors import InputError, InterruptedRunError, UnknownNameError
from convista.training import Console, Progress, Sweep
from convista.training.finder import smoothed, sweep_of

RUN = {"model": "lenet5", "precision": "fp32", "batch": 16}
WORDS = RUN | {"steps": 60}


@pytest.fixture(scope="module")
def found() -> Sweep:
    return convista.lr_find("digits", **WORDS)


@pytest.mark.parametrize(
    "words", [{}, {"optimizer": "nesterov", "init": "xavier"}][: None if os.environ.get("CONVISTA_TEST_ALL") else 1]
)
def test_the_suggestion_trains_better_than_a_tenth_and_than_a_hundredfold(
    words: dict[str, str], tmp_path: Path
) -> None:
    lr = convista.lr_find("digits", **WORDS | words).lr
    assert lr is not None

    def loss(rate: float) -> float:
        out = tmp_path / f"{rate:g}"
        try:
            return convista.train("digits", lr=rate, epochs=2, out=out, **RUN | words).history[-1].val_loss
        except InputError:  # the loss was no number
            return math.inf

    best = loss(lr)
    assert best < loss(lr / 10)
    assert best < loss(lr * 100)


def test_the_sweep_ends_where_the_loss_runs_away(found: Sweep) -> None:
    assert found.ended in ("diverged", "not a number")
    assert len(found.rates) == len(found.losses) == len(found.smooth) < 60
    assert all(map(math.isfinite, found.losses))
    assert found.rates[0] == pytest.approx(1e-6)
    ratios = np.diff(np.log(found.rates))
    assert np.allclose(ratios, math.log(1e7) / 59)


def test_a_loss_that_is_no_number_ends_the_sweep_cleanly() -> None:
    found = convista.lr_find("digits", optimizer="sgd", clip=0.0, lowest=1e-3, highest=1e30, **WORDS)
    assert found.ended in ("diverged", "not a number")
    assert all(map(math.isfinite, found.losses))
    assert found.lr is None or 1e-3 < found.lr < 10


def test_the_same_seed_finds_the_same_rate(found: Sweep) -> None:
    torch.manual_seed(99)
    torch.rand(3)
    again = convista.lr_find("digits", **WORDS)
    assert again == found
    assert convista.lr_find("digits", seed=1, **WORDS).losses != found.losses


def test_it_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    convista.lr_find("digits", **WORDS | {"steps": 10})
    assert torch.equal(torch.rand(2), expected)
    assert list(tmp_path.iterdir()) == []


def test_the_rule_finds_the_fall_of_a_known_curve() -> None:
    rates = [10.0 ** (i / 12 - 6) for i in range(84)]
    losses = [2 - 1 / (1 + (0.01 / rate) ** 2) + (rate / 0.5) ** 2 for rate in rates]
    found = sweep_of(rates, losses)
    assert found.steepest == pytest.approx(0.01, rel=0.5)
    assert found.tenth == pytest.approx(0.007, rel=0.6)
    assert found.lr == pytest.approx(math.sqrt(found.steepest * found.tenth))
    flat = sweep_of(rates, [2.3] * 40 + [2.3 + i for i in range(44)])
    assert flat.lr is None
    assert "nothing can be suggested" in str(flat)


def test_a_noisy_start_is_not_taken_for_the_descent() -> None:
    rates = [10.0 ** (i / 12 - 6) for i in range(84)]
    losses = [2.3 - 1.2 / (1 + (0.02 / rate) ** 1.2) + (rate / 2) ** 2 for rate in rates]
    losses[5:8] = [3.5, 3.6, 3.3]  # a hard batch at rates that move nothing
    found = sweep_of(rates, losses)
    assert found.steepest is not None
    assert 1e-3 < found.steepest < 0.1
    assert found.warnings == []


def test_a_suggestion_that_is_a_guess_says_so() -> None:
    rates = [10.0 ** (i / 2 - 6) for i in range(14)]
    few = sweep_of(rates, [2 - 1 / (1 + (0.01 / rate) ** 2) + (rate / 0.5) ** 2 for rate in rates])
    assert "14 steps are few" in str(few)
    apart = Sweep((1e-5, 1.0), (2.0, 1.0), (2.0, 1.0), 1e-5, 0.1, 1e-3, "highest rate", 0.1)
    assert "the two rates lie 10,000x apart" in str(apart)
    assert apart.to_json()["warnings"] == apart.warnings


def test_what_is_seen_on_the_way_is_the_step_the_rate_and_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[Progress] = []
    convista.lr_find("digits", console=Console(show=shown.append), **RUN, steps=10)
    assert [progress.done for progress in shown] == list(range(1, len(shown) + 1))
    display = _Display(Terminal(stderr=True, highlight=False), [])
    said = []
    for progress in (shown[3], shown[4], shown[4], shown[1]):
        display.last = -math.inf
        display.show(progress)
        said.append(capsys.readouterr().err)
    assert re.match(r"step 4/10: 40 %, rate 0.\d+  loss 2\.\d{3}$", said[0])  # nothing is known of how long it takes
    assert re.match(r"step 5/10: 50 %, rate 0.0013  loss 2\.\d{3}, about \d+ s left", said[1])
    assert "left" in said[2]
    assert "left" not in said[3]  # another pass has begun
    assert duration(3010) == "50 min"


def test_a_recipe_file_gives_the_words_but_for_the_rate(tmp_path: Path, found: Sweep) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('model = "lenet5"\nprecision = "fp32"\nbatch = 64\nlr = 7.0\n')
    assert convista.lr_find("digits", recipe=file, batch=16, steps=60).losses == found.losses
    words = ["lr-find", "digits", "--recipe", str(file), "--batch", "16", "--steps", "60"]
    done = CliRunner().invoke(app, words)
    assert done.stdout.splitlines()[-1].startswith(f"use it: convista train digits --recipe {file} --batch 16 --lr 0.")
    file.write_text("[sweep]\nseed = [0, 1]\n")
    with pytest.raises(InputError, match="sweeps over seed"):
        convista.lr_find("digits", recipe=file)


def test_smoothing_shifts_nothing() -> None:
    losses = np.linspace(3, 1, 50)
    assert np.allclose(smoothed(losses, 2)[10:40], losses[10:40])
    assert np.allclose(smoothed(np.ones(20), 3), 1)


def test_the_command_prints_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["lr-find", "digits", "--model", "lenet5", "--precision", "fp32", "--batch", "16", "--no-crop"]
    done = CliRunner().invoke(app, [*words, "--steps", "60", "--out", "curve.svg"])
    assert done.exit_code == 0
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        "use it: convista train digits --model lenet5 --batch 16 --no-crop --precision fp32 --lr 0.0"
    )
    assert (tmp_path / "curve.svg").read_text().count("<polyline") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"curve.svg"}
    answer = json.loads(CliRunner().invoke(app, [*words, "--steps", "60", "--json"]).stdout)
    assert answer["lr"] == pytest.approx(float(last.split()[-1]), rel=0.05)
    assert len(answer["rates"]) == len(answer["losses"])
    assert json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"lr": 0.1}, "leave it out"),
        ({"lowest": 1.0, "highest": 0.1}, "the lower one first"),
        ({"lowest": 0.0}, "two positive rates"),
        ({"steps": 3}, "at least 10 steps"),
        ({"highest": math.inf}, "two positive rates"),
        ({"out": "curve.png"}, "ends in .svg"),
        ({"model": "lenet6"}, "Did you mean lenet5"),
        ({"optimizer": "adamv"}, "Did you mean adam"),
        ({"step": 30}, "no option named 'step'"),
    ],
)
def test_wrong_input_ends_in_one_clear_message(words: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        convista.lr_find("digits", **WORDS | words)


def test_a_sweep_that_is_asked_to_stop_stops() -> None:
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError, match="Stopped at step 5 of 60; nothing was written"):
        convista.lr_find("digits", console=Console(stopped=lambda: next(calls) > 3), **WORDS)
    with pytest.raises(InputError, match="A int was given as data"):
        convista.lr_find(3)  # type: ignore[arg-type]


def test_an_unknown_word_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        convista.lr_find("digits", epoch=3)
