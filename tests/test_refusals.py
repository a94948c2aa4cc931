"""What cannot be meant is refused at once, in one sentence that says what to do; what can be meant is taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convista
from convista.cli import app as front_door
from convista.errors import InputError, UnknownNameError
from convista.recipe import Recipe
from convista.tasks import parse_axes, read_recipe
from convista.training.loop import Training

WITHOUT_TORCH = """
import sys
from convista.cli import main
try:
    main()
finally:
    assert "torch" not in sys.modules, "torch was loaded"
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "digits", "--optimizer", "adams"), "Did you mean adam"),
        (("train", "digits", "--model", "resnet81"), "Did you mean resnet18"),
        (("train", "digits", "--lr", "0"), "lr=0.0 was given; with a rate of zero nothing is learned"),
        (("train", "digits", "--learning-rate", "0.1"), "no option named '--learning-rate'. Did you mean --lr?"),
        (("train", "digits", "--batch-size=8"), "Did you mean --batch?"),
        (("train", "digits", "more"), "one folder of pictures at a time"),
        (("lr-find", "digits", "--schedule", "cosin"), "Did you mean cosine"),
        (("doctor", "lenet5", "--init", "hee"), "Did you mean he?"),
    ],
)
def test_misspelt_words_are_refused_before_torch_is_loaded(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.replace("lr=0 ", "lr=0.0 ")
    assert "Error" not in done.stderr


def test_ctrl_c_while_torch_is_being_loaded_ends_with_130() -> None:
    code = """
import os, signal, sys, types
from importlib.machinery import ModuleSpec
from convista.cli.app import _interrupted
torch = types.ModuleType("torch")
torch.__spec__ = ModuleSpec("torch", None)
torch.__spec__._initializing = True
sys.modules["torch"] = torch
signal.signal(signal.SIGINT, _interrupted)
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "convista: stopped.\n")


def test_blanks_in_a_sweep_mean_nothing() -> None:
    assert parse_axes(["lr=1e-3, 3e-3  seed = 0..1"]) == {"lr": (0.001, 0.003), "seed": (0, 1)}
    assert parse_axes(["augment=light; strong"]) == {"augment": ("light", "strong")}


def test_choices_are_read_in_any_case() -> None:
    recipe = Recipe.of(optimizer="Adam", schedule="OneCycle", precision="BF16")
    assert (recipe.optimizer, recipe.schedule, recipe.precision) == ("adam", "onecycle", "bf16")


def test_words_of_other_libraries_lead_to_ours() -> None:
    with pytest.raises(UnknownNameError, match=r"'learning_rate'\. Did you mean lr\?"):
        convista.train("digits", learning_rate=0.1)
    with pytest.raises(InputError, match="lr=0 was given"):
        convista.train("digits", lr=0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"recipe": {"epochs": 3}},
            r"A dict was given as recipe; expected the path .* convista\.train\(data, \*\*words\)",
        ),
        ({"model": nn.Linear(2, 2)}, r"model=Linear\(.*expected a text, the name of a network or 'package.module"),
        ({"augment": ["light"]}, r"augment=\['light'\] was given; expected a text"),
    ],
)
def test_things_of_another_kind_are_refused_in_python(words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        convista.train("digits", **words)
    assert len(str(caught.value).splitlines()) == 1


def test_a_sheet_of_a_list_is_refused_and_schedules_may_be_a_list() -> None:
    with pytest.raises(InputError, match="expected a text"):
        convista.augment("digits", ["light"])  # type: ignore[arg-type]
    assert list(convista.schedule(["cosine", "step"], epochs=2)) == ["cosine", "step"]
    with pytest.raises(InputError, match="A int was given as schedule; expected names: constant"):
        convista.schedule([3])  # type: ignore[arg-type]


def test_dir_shows_what_is_public_and_no_more() -> None:
    assert dir(convista) == sorted(convista.__all__)


@pytest.mark.parametrize(("name", "text"), [("r.toml", ""), ("r.toml", "# later\n"), ("r.json", "{}")])
def test_an_empty_recipe_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="is empty: it holds no words"):
        convista.train("digits", recipe=tmp_path / name)


def test_a_recipe_finds_the_networks_beside_it_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "study"
    (home / "plans_of_mine" / "small").mkdir(parents=True)
    (home / "plans_of_mine" / "nets.py").write_text(
        "from convista.blocks import Chain, Conv, Head\n\n\n"
        "def tiny(classes=10):\n    return Chain(conv=Conv(4, 3), head=Head(classes))\n"
    )
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = home / "plans_of_mine" / "small" / "r.toml"
    file.write_text('[sweep]\nmodel = ["plans_of_mine.nets:tiny"]\n')
    assert read_recipe(file).sweep == {"model": ("plans_of_mine.nets:tiny",)}
    assert convista.spec("plans_of_mine.nets:tiny", classes=3, channels=3, image=32).classes == 3


def test_a_refusal_stands_in_the_summary_of_torchrun(tmp_path: Path) -> None:
    place = tmp_path / "error.json"
    words = [sys.executable, "-m", "convista", "train", "digits", "--optimizer", "adams"]
    done = subprocess.run(words, env=os.environ | {"TORCHELASTIC_ERROR_FILE": str(place)}, capture_output=True)
    assert done.returncode == 2
    told = json.loads(place.read_text())["message"]
    assert told["message"].startswith("convista: There is no optimizer named 'adams'.")
    assert int(told["extraInfo"]["timestamp"]) > 0  # torchrun takes the earliest for the cause


def test_one_process_without_memory_says_which_and_what_all_should_do() -> None:
    class Job:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        state = type("State", (), {"parts": 1})
        world = type("World", (), {"rank": 1, "size": 2})

    with pytest.raises(InputError, match=r"On process 1 of 2 .* --accumulate 2, the same for all processes"):
        Training._split(Job(), 8)  # type: ignore[arg-type]


def test_front_door_has_no_option_that_it_hints_away_from() -> None:
    import typer

    known = {
        option
        for command in typer.main.get_command(front_door.app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    assert not known & {"--" + word.replace("_", "-") for word in front_door.OTHERS_SAY}
