"""A recipe file holds the words of the command line, and a run's record is one."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from conftest import Call, json_of
from convista.errors import InputError
from convista.recipe import Recipe
from convista.tasks import Run, read_recipe
from convista.verbs import train

FAST = {"model": "lenet5", "epochs": 1, "batch": 128}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("recipe")
    file = folder / "recipe.toml"
    file.write_text('# 91 % on digits\nmodel = "lenet5"\nepochs = 1\nbatch = 256\nlabel-smoothing = 0.05\nlr = 1\n')
    return train("digits", recipe=file, batch=128, lr=0.002, out=folder / "run")


def test_words_given_win_over_those_of_the_file(trained: Run) -> None:
    recipe = trained.recipe
    assert (recipe.model, recipe.epochs, recipe.label_smoothing) == ("lenet5", 1, 0.05)
    assert (recipe.batch, recipe.lr) == (128, 0.002)
    assert "recipe.toml" in trained.info["command"]


def test_a_default_given_on_the_command_line_wins_too(convista: Call, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "lenet5"\nepochs = 1\nbatch = 128\nseed = 7\nclip = 1.5\n')
    done = convista("train", "digits", "--recipe", "r.toml", "--seed", 0, "--out", "run", "--json")
    json_of(done)
    recipe = Run.load(tmp_path / "run").recipe
    assert (recipe.seed, recipe.clip, recipe.batch) == (0, 1.5, 128)


@pytest.mark.parametrize("place", ["", "run.json"])
def test_a_run_is_a_recipe(trained: Run, place: str) -> None:
    assert Recipe.of(**read_recipe(trained.path / place).words) == trained.recipe


def some_words(chance: random.Random) -> dict[str, Any]:
    """Any legal words, none of which has to be the default."""
    words: dict[str, Any] = {}
    for f in fields(Recipe):
        kind = str(f.type).partition(" | ")[0]
        least = f.metadata["least"] or 0
        if f.metadata["choices"]:
            words[f.name] = chance.choice(f.metadata["choices"])
        elif kind == "str":
            words[f.name] = chance.choice(["lenet5", 'odd "name"\\é']) if f.name == "model" else f.default
        else:
            value = {
                "int": chance.randint(int(least), 9),
                "float": chance.uniform(0, 0.99),
                "bool": chance.random() < 0.5,
            }
            words[f.name] = value[kind]
    words |= {"batch": 64, "model": words["model"], "views": chance.choice([1, 2, 6])}
    words["class_weights"] &= not words["balanced"]  # these pairs are refused
    words["whiten"] &= words["init"] != "lsuv"
    return {word: words[word] for word in chance.sample(sorted(words), chance.randint(1, len(words)))}


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("kind", ["toml", "json", "run"])
def test_words_come_back_from_every_kind_of_file(tmp_path: Path, kind: str, seed: int) -> None:
    chance = random.Random(seed)
    words = some_words(chance)
    spelled = {chance.choice([word, word.replace("_", "-")]): value for word, value in words.items()}
    if kind == "toml":  # a JSON string, number or truth value is one of TOML too
        file = tmp_path / "r.toml"
        lines = [f"{word} = {json.dumps(value, ensure_ascii=False)}" for word, value in spelled.items()]
        file.write_text("\n".join(["# a comment", *lines]), encoding="utf-8")
    elif kind == "json":
        file = tmp_path / "r.json"
        file.write_text(json.dumps(spelled))
    else:
        file = tmp_path / "run.json"
        file.write_text(json.dumps({"version": 1, "recipe": Recipe.of(**words).to_json(), "data": "somewhere"}))
    found = Recipe.of(**read_recipe(file).words)
    assert found == Recipe.of(**words)
    (tmp_path / "again.json").write_text(json.dumps({"recipe": found.to_json()}))
    assert Recipe.of(**read_recipe(tmp_path / "again.json").words) == found


def test_a_sweep_table_holds_lists_and_ranges(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('epochs = 2\n[sweep]\nlr = [1e-3, 0.003]\nseed = "0..2"\nlabel-smoothing = [0]\n')
    plan = read_recipe(tmp_path / "r.toml")
    assert plan.words == {"epochs": 2}
    assert plan.sweep == {"lr": (0.001, 0.003), "seed": (0, 1, 2), "label_smoothing": (0,)}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.toml", "epoch = 3", "'epoch'. Did you mean epochs"),
        ("r.toml", 'epochs = "3"', "epochs='3' was given; expected a whole number"),
        ("r.toml", "epochs = 3.0", "epochs=3.0 was given; expected a whole number"),
        ("r.toml", "flip = 1", "flip=1 was given; expected true or false"),
        ("r.toml", "lr = true", "lr=True was given; expected a number"),
        ("r.toml", "lr = nan", "lr=nan was given"),
        ("r.toml", "lr = 2026-01-01", "expected a number"),
        ("r.toml", "lr = -1.0", "at least 0"),
        ("r.toml", 'optimizer = "adams"', "Did you mean adam"),
        ("r.toml", "epochs 3", "neither TOML nor JSON"),
        ("r.toml", "epochs = 3\nepochs = 4", "neither TOML nor JSON"),
        ("r.toml", "clip = 1.0\n[training]\nepochs = 3", "'training'"),
        ("r.toml", "weight-decay = 0.1\nweight_decay = 0.2", "weight-decay twice"),
        ("r.toml", 'data = "photos"', "names data; a recipe holds none"),
        ("r.toml", 'device = "cpu"', "device says where"),
        ("r.toml", "sweep = 3", "no words under 'sweep'"),
        ("r.toml", "[sweep]\nlr = 0.1", "lr=0.1 is to be swept; expected a list"),
        ("r.toml", "[sweep]\nlr = []", "no value at all"),
        ("r.toml", "[sweep]\nlr = [[0.1]]", "expected plain values"),
        ("r.toml", "[sweep]\nlr = [0.1, 'x']", "lr='x' was given; expected a number"),
        ("r.toml", "[sweep]\nseed = [1, 1]", "seed=1 is to be swept twice"),
        ("r.toml", "[sweep]\nspeed = [1]", "'speed'. Did you mean seed"),
        ("r.toml", "[sweep]\ndata = ['a']", "names data"),
        ("r.toml", "lr = 0.1\n[sweep]\nlr = [0.1]", "lr both once and in its"),
        ("r.json", '{"epochs": 3', "neither TOML nor JSON"),
        ("r.json", '{"epochs": 3, "epochs": 4}', "epochs is given twice"),
        ("r.json", "[1]", "has no words"),
        ("r.json", "3", "has no words"),
        ("r.json", '{"epochs": null}', "epochs=None was given"),
        ("run.json", '{"version": 1}', "no words under 'recipe'"),
        ("r.json", '{"recipe": {"epoch": 3}}', "Did you mean epochs"),
        ("r.toml", b"\xff\xfe\x00", "neither TOML nor JSON"),
        ("r.json", "[" * 100_000, "neither TOML nor JSON"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_word(tmp_path: Path, name: str, text: Any, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        train("digits", recipe=file, out=tmp_path / "run")
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_is_not_there_is_said(tmp_path: Path, convista: Call) -> None:
    with pytest.raises(InputError, match=r"There is no recipe .*nowhere\.toml"):
        train("digits", recipe=tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match=r"is a folder without run\.json"):
        train("digits", recipe=tmp_path)
    done = convista("train", "digits", "--recipe", "nowhere.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("convista: There is no recipe nowhere.toml")


def test_a_resumed_run_takes_no_recipe(trained: Run) -> None:
    with pytest.raises(InputError, match="keeps its recipe"):
        train(resume=trained.path, recipe=trained.path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("epochs = 2", encoding="utf-8-sig")
    assert read_recipe(tmp_path / "r.toml").words == {"epochs": 2}
