"""The experiments: each recipe says what was measured and makes sense; their page is what the script writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from conftest import json_of
from convista.recipe import Recipe
from convista.tasks import read_recipe
from convista.tasks.axes import combinations
from convista.tasks.network import network_of

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))
SMALL = [path for path in RECIPES if path.parent.name == "recipes"]
EXPERIMENTS = [path for path in SMALL if path.stem != "speed"]  # which is no comparison


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes name networks of this repository as one would from its root."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture(scope="module")
def script(script_of_docs: Callable[[str], ModuleType]) -> ModuleType:
    return script_of_docs("make_experiments")


def comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_recipe_opens_with_what_was_measured_and_the_command(path: Path) -> None:
    said = comment(path)
    assert re.search(r"\n# Measured: \S", said)
    assert said.endswith(f"# convista train cifar10/ --recipe {path.relative_to(ROOT).as_posix()}")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_run_of_a_recipe_has_a_network(path: Path) -> None:
    plan = read_recipe(path)
    assert len(plan.sweep["seed"]) >= 3
    for words in combinations(plan.words, plan.sweep):
        recipe = Recipe.of(**{**plan.words, **words})
        if recipe.seed == 0:
            assert network_of(recipe).image == 32


def test_one_command_runs_a_recipe_and_tabulates_its_settings(photos: Path, tmp_path: Path) -> None:
    tiny = ("--epochs", "1", "--limit", "9", "--batch", "4", "--out", str(tmp_path / "runs"), "--json")
    command = [sys.executable, "-m", "convista", "train", str(photos), "--recipe", "recipes/kernels.toml", *tiny]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300)
    settings = json_of(done)["settings"]
    assert [setting["words"]["what_if"] for setting in settings] == ["", "kernel7=3x3x3"]
    assert [setting["test"]["top1"]["n"] for setting in settings] == [3, 3]


def test_every_small_recipe_has_its_full_size_beside_it() -> None:
    full = {path.name for path in RECIPES if path.parent.name == "gpu"}
    assert {path.name for path in SMALL} == full


def test_the_page_and_the_figure_are_what_the_script_writes(script: ModuleType) -> None:
    results = ROOT / "docs" / "results"
    assert set(script.ORDER) == {path.stem for path in EXPERIMENTS}
    for name, text in (("experiments.md", script.page()), ("experiments.svg", script.figure())):
        assert (results / name).read_text(encoding="utf-8") == text, "run `python docs/make_experiments.py`"
    ElementTree.fromstring(script.figure())


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_what_was_measured_is_what_the_recipe_asks_for(path: Path) -> None:
    runs = json.loads((ROOT / "docs" / "results" / "experiments.json").read_text(encoding="utf-8"))["runs"]
    plan = read_recipe(path)
    measured = [run["words"] for run in runs if run["recipe"] == path.stem]
    asked = combinations(plan.words, plan.sweep)
    said = comment(path)
    if "Measured: not yet" in said:
        assert not measured
    elif "Measured: so far" in said:
        assert measured == [words for words in asked if words in measured]
        assert measured
    else:
        assert measured == asked
