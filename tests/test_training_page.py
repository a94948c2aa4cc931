"""docs/training.md says what the source does: tables are compared with constants, sentences with numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from convista.blocks import INITIALISERS
from convista.data.plan import AUTOMATIC
from convista.data.policy import NAMED, WORDS, read_policy
from convista.recipe import INIT_NAMES, OPTIMIZER_NAMES, SCHEDULE_NAMES, Recipe
from convista.training import loop, make_optimizer, recalibrate, schedules
from convista.training.initial import MOST as LSUV_PICTURES
from convista.training.lamb import LONGEST
from convista.training.muon import STEPS
from convista.training.optim import BESIDE, OPTIMIZERS
from convista.training.schedules import CYCLES, PATIENCE, SCHEDULES
from convista.transfer import HeadRecipe, learn, plan
from convista.transfer.plan import Situation, chosen
from convista.transfer.shift import FAR

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
SENTENCES = " ".join(PAGE.split())


def tables(head: str) -> list[dict[str, list[str]]]:
    """The tables whose first column is called so: their rows by the first cell, without its quotes."""
    found = []
    for part in PAGE.split(f"\n| {head} |")[1:]:
        rows = part.split("\n\n", 1)[0].splitlines()[2:]
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        found.append({first.strip("`"): rest for first, *rest in cells})
    return found


OPTIMIZER, SCHEDULE, AUGMENT, INIT, *_ = tables("word")


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_rates_decays_and_momenta_are_those_of_the_source(name: str) -> None:
    lr, grows, decay, momentum, paper = OPTIMIZER[name]
    kind = OPTIMIZERS[name]
    assert (float(lr), grows, float(decay)) == (kind.lr, "linear" if kind.linear else "root", kind.decay)
    group = make_optimizer(nn.Conv2d(3, 4, 3), Recipe.of(optimizer=name)).param_groups[0]
    own = [group["alpha"]] if "alpha" in group else [group["momentum"]] if group.get("momentum") else group.get("betas")
    assert [float(x) for x in momentum.removeprefix("squares ").split(", ") if x != "none"] == list(own or [])
    assert paper


def test_every_name_has_its_row() -> None:
    assert tuple(OPTIMIZER) == OPTIMIZER_NAMES
    assert tuple(SCHEDULE) == SCHEDULE_NAMES
    assert tuple(INIT) == INIT_NAMES
    assert set(INIT) - {"lsuv"} <= set(INITIALISERS)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.49, 0.5, 0.76, 0.999])
def test_formulas_of_schedules_are_those_of_the_source(p: float) -> None:
    assert SCHEDULES["step"](p) == pytest.approx(1 if p < 0.5 else 0.1 if p < 0.75 else 0.01)
    assert SCHEDULES["exponential"](p) == pytest.approx(0.01**p)
    cosine = (1 + math.cos(math.pi * p)) / 2
    assert SCHEDULES["cosine"](p) == pytest.approx(cosine)
    start, length = next((a, b) for a, b in ((3 / 7, 4 / 7), (1 / 7, 2 / 7), (0, 1 / 7)) if p >= a)
    assert SCHEDULES["restarts"](p) == pytest.approx((1 + math.cos(math.pi * (p - start) / length)) / 2)
    up, way = (True, p / 0.3) if p < 0.3 else (False, (p - 0.3) / 0.7)
    half = (1 - math.cos(math.pi * way)) / 2
    assert SCHEDULES["onecycle"](p) == pytest.approx(1 / 25 + 24 / 25 * half if up else 1 - half)


def test_numbers_in_sentences_are_those_of_the_source() -> None:
    assert (PATIENCE, CYCLES, loop.STRIKES, STEPS, BESIDE, LONGEST, LSUV_PICTURES) == (5, 3, 3, 5, 0.1, 10, 256)
    for said in ("for 5 epochs", "`restarts` | 3 such", "3rd time in a run", "in 5 iterations", "at 0.1 of the rate",
                 "at most 10 times", "at most 256 pictures", "at most a quarter of all", "4,096 training"):  # fmt: skip
        assert said in SENTENCES, said
    assert recalibrate.__globals__["MOST"] == 4096
    assert schedules.rate("cosine", 24, 100, 25) == 1.0
    recipe = Recipe()
    assert (recipe.optimizer, recipe.schedule, recipe.augment, recipe.warmup) == ("adamw", "cosine", "light", 1)
    assert (recipe.label_smoothing, recipe.focal, recipe.clip) == (0.1, 0, 5)
    for said in ("`adamw` if not given", "`cosine` if not given", "`light` if not given", "`--warmup 1`",
                 "`--label-smoothing s` (0.1)", "`--focal γ` (0)", "`--clip 5`"):  # fmt: skip
        assert said in SENTENCES, said


def test_words_of_augmentation_have_their_amounts_and_ranges() -> None:
    assert tuple(AUGMENT) == tuple(WORDS)
    for name, word in WORDS.items():
        none = word.amount is None
        told = ["–", "–"] if none else [f"{word.amount:g}", f"{word.least:g} … {word.most:g}"]
        assert AUGMENT[name] == [*told, word.help], name


def test_policies_are_what_the_page_says() -> None:
    policies = {name: row[0].split("`")[1] if "`" in row[0] else "none" for name, row in tables("policy")[0].items()}
    assert set(policies) == {*NAMED, "rand", "trivial"}
    for name, meaning in policies.items():
        assert read_policy(name) == read_policy(meaning), name


def test_automatic_operations_have_their_strengths() -> None:
    told = tables("operation")[0]
    assert list(told) == [name for name, *_ in AUTOMATIC]
    for name, *full in AUTOMATIC:
        if told[name][0] != "–":
            assert [float(x) for x in told[name][:2]] == pytest.approx(full, rel=2e-3), name


def test_class_weights_follow_their_formula() -> None:
    from convista.training import balancing_weights

    targets = torch.tensor([0, 0, 0, 1]).numpy()
    assert balancing_weights(targets, 3).tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1), 0])


@pytest.mark.parametrize(
    ("row", "each"),
    [("fewer than 10", 9), ("10 to 19", 10), ("20 to 49", 20), ("50 to 199", 50), ("200 and more", 200)],
)
def test_the_plan_is_what_the_page_says(row: str, each: int) -> None:
    said = {"none": "the head alone", "last": "the last stages", "gradual": "the whole network"}
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {row} |"))
    near, far = (cell.strip() for cell in line.split("|")[2:4])
    assert near.startswith(said[chosen(Situation(each, 0.9, "near"))[0]])
    assert (near if far == "the same" else far).startswith(said[chosen(Situation(each, 0.9, "far"))[0]])


def test_numbers_of_transfer_are_those_of_the_source() -> None:
    assert f"{plan.SURE:.0%}".replace("%", " %") in PAGE
    assert f"a distance of {FAR}" in PAGE
    assert f"`--lr-decay-per-stage {learn.DECAY}`" in PAGE
    assert learn.GENTLE == 0.1
    assert f"AdamW at {HeadRecipe().lr:g}".replace("0.0003", "3e-4") in PAGE
    assert f"dropout {learn.DROPOUT}" in PAGE
