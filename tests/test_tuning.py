"""More than the head: which stages of a pretrained network learn further, how fast, and that nothing else changes."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convista
from convista.errors import DivergedError, InputError, InterruptedRunError, UnknownNameError
from convista.recipe import Recipe
from convista.training import Console, Thaw, Undo, make_optimizer, slower, stages_of
from convista.transfer.plan import Plan, Situation, chosen, last_stages, planned

FEW = {"epochs": 2, "batch": 16, "limit": 48}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has seen digits."""
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    convista.train("digits", model="resnet20", epochs=1, limit=200, out=folder)
    return folder


def tuned(base: Path, out: Path, **words: Any) -> convista.Run:
    return convista.train("digits", from_=base, out=out, **{**FEW, **words})


def changed(run: convista.Run, base: Path) -> set[str]:
    """The rows of the network that are not as they were."""
    before = convista.Run.load(base).net.state_dict()
    return {
        name.partition(".")[0] for name, value in run.net.state_dict().items() if not torch.equal(value, before[name])
    }


def three() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2)
    )


# which stages learn


def test_the_rows_of_a_table_are_its_stages() -> None:
    assert list(stages_of(convista.create("resnet18"))) == ["conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x", "head"]


def test_a_foreign_network_s_stages_are_its_children_and_the_largest_is_taken_apart() -> None:
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)))
    net.add_module("classifier", nn.Linear(8, 2))
    assert list(stages_of(net)) == ["features.0", "features.2", "classifier"]
    assert last_stages(net) == "features.2"


def test_what_does_not_learn_has_no_gradient_and_statistics_stay() -> None:
    net = three()
    Thaw("3")(net, 0)
    assert [name for name, p in net.named_parameters() if p.requires_grad] == [
        "3.weight",
        "3.bias",
        "5.weight",
        "5.bias",
    ]
    net(torch.rand(4, 1, 5, 5))
    assert net[1].num_batches_tracked == 0
    Thaw("0")(net, 0)
    net(torch.rand(4, 1, 5, 5))
    assert all(p.requires_grad for p in net.parameters())
    assert net[1].num_batches_tracked == 0


def test_stages_thaw_one_after_another_from_the_end() -> None:
    net = convista.create("resnet18")
    shown = [Thaw("conv3_x", over=4).learning(net, epoch) for epoch in range(6)]
    assert [len(stages) for stages in shown] == [1, 1, 2, 3, 4, 4]
    assert all(stages[-1] == "head" for stages in shown)
    assert shown[-1] == ["conv3_x", "conv4_x", "conv5_x", "head"]


def test_each_stage_is_slower_than_the_one_behind_it() -> None:
    net = three()
    recipe = Recipe.of(lr_decay_per_stage=0.5, weight_decay=0.1)
    groups = make_optimizer(net, recipe).param_groups
    rates = {
        name: g["lr_scale"] for name, p in net.named_parameters() for g in groups if any(p is q for q in g["params"])
    }
    assert rates["5.weight"] == rates["5.bias"] == 1
    assert rates["3.weight"] == 0.5
    assert rates["0.bias"] == 0.125
    decays = {
        name: g["weight_decay"]
        for name, p in net.named_parameters()
        for g in groups
        if any(p is q for q in g["params"])
    }
    assert decays["0.weight"] == 0.1
    assert decays["0.bias"] == 0
    assert sum(len(g["params"]) for g in slower(net, groups, 0.1)) == len(list(net.parameters()))


def test_one_step_back_leads_back_even_where_a_stage_has_just_thawed() -> None:
    net = three()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    undo = Undo(net, optimizer)
    for epoch in range(2):
        Thaw("3", over=1)(net, epoch)
        undo.note()
        before = copy.deepcopy(net.state_dict())
        net(torch.rand(4, 1, 5, 5)).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        undo.accept()
    undo.note()
    undo.back()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# the plan


@pytest.mark.parametrize(
    ("situation", "kind"),
    [
        (Situation(300, 0.995), "none"),
        (Situation(15, 0.8, "near"), "none"),
        (Situation(15, 0.8, "far"), "last"),
        (Situation(100, 0.8), "last"),
        (Situation(100, 0.8, "far"), "gradual"),
        (Situation(1000, 0.8), "gradual"),
    ],
)
def test_the_plan_follows_from_number_distance_and_the_probe(situation: Situation, kind: str) -> None:
    found, why = chosen(situation)
    assert found == kind
    assert f"{situation.per_class:,.0f} pictures in each class" in why


def test_what_is_asked_for_is_planned() -> None:
    net, many = convista.create("resnet18"), Situation(1000, 0.5)
    assert planned(net, Recipe.of(unfreeze="none"), many).first == ""
    assert planned(net, Recipe.of(unfreeze="last"), many).first == "conv5_x"
    assert planned(net, Recipe.of(unfreeze="all"), many).first == "conv1"
    asked = planned(net, Recipe.of(freeze_until="conv4_x"), many)
    assert (asked.kind, asked.first, asked.steps) == ("last", "conv4_x", ["probe", "head", "last from conv4_x"])
    assert planned(net, Recipe.of(freeze_until="conv4_x", unfreeze="all"), many).first == "conv4_x"
    assert planned(net, Recipe.of(freeze_until="conv4_x", unfreeze="gradual"), many).thaw(10) == Thaw("conv4_x", 5)
    with pytest.raises(InputError, match="leave one of them out"):
        planned(net, Recipe.of(freeze_until="conv4_x", unfreeze="none"), many)
    assert Plan("none").steps == ["probe", "head"]


# whole runs


def test_only_the_last_stages_change_and_validation_is_never_worse_than_the_head_s(base: Path, tmp_path: Path) -> None:
    run = tuned(base, tmp_path / "run", unfreeze="last", patience=5)
    assert run.info["plan"] == ["probe", "head", "last from conv4_x"]
    assert run.history[0].epoch == 0
    assert run.val.top1 >= run.history[0].val_top1
    assert changed(run, base) <= {"conv4_x", "head"}
    assert convista.eval(run).top1 == run.test.top1
    assert (run.path / "report.html").exists()


def test_a_whole_network_learns_further(base: Path, tmp_path: Path) -> None:
    run = tuned(base, tmp_path / "run", unfreeze="all", lr=0.01)
    assert len(run.history) == 3
    learned, before = torch.load(run.path / "last.ckpt")["net"], convista.Run.load(base).net.state_dict()
    rows = {name.partition(".")[0] for name, value in learned.items() if not torch.equal(value, before[name])}
    assert rows == {name.partition(".")[0] for name in before}


def test_maps_that_were_kept_teach_what_pictures_teach(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convista.transfer import tuning

    words = {"unfreeze": "last", "precision": "fp32", "augment": "none", "crop": False, "flip": False, "lr": 1e-4}
    kept = tuned(base, tmp_path / "kept", **words)
    monkeypatch.setattr(tuning, "_fits", lambda numbers: False)
    looked = tuned(base, tmp_path / "looked", **words)
    for one, other in zip(kept.history, looked.history, strict=True):
        assert one.val_loss == pytest.approx(other.val_loss, rel=5e-3)
    assert looked.history[1].train_loss == pytest.approx(kept.history[1].train_loss, rel=5e-3)


@pytest.mark.parametrize("unfreeze", ["last", "gradual"])
def test_a_run_that_was_stopped_while_tuning_goes_on_to_the_same_weights(
    unfreeze: str, base: Path, tmp_path: Path
) -> None:
    words: dict[str, Any] = {"unfreeze": unfreeze, "mixup": 0.2, "ema": 0.9, "lr": 0.003, "epochs": 3}
    whole = tuned(base, tmp_path / "whole", **words)
    asked = iter(range(100))
    console = Console(stopped=lambda: next(asked) == 5)
    with pytest.raises(InterruptedRunError):
        tuned(base, tmp_path / "run", console=console, **words)
    run = convista.train(resume=tmp_path / "run")
    assert run.test == whole.test
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    assert [row.val_loss for row in run.history] == [row.val_loss for row in whole.history]


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ({"freeze_until": "conv9_x"}, UnknownNameError, "conv4_x"),
        ({"freeze_until": "head"}, InputError, "the head itself"),
        ({"unfreeze": "none", "lr": 0.1}, InputError, "a head alone does not ask for it"),
        ({"unfreeze": "some"}, UnknownNameError, "gradual"),
        ({"lr_decay_per_stage": -1}, InputError, "at least 0"),
        ({"model": "resnet18"}, InputError, "leaves no choice"),
        ({"views": 2}, InputError, "leaves no choice"),
    ],
)
def test_words_that_make_no_sense_are_refused_and_leave_nothing(
    words: dict[str, Any], kind: type[Exception], said: str, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=said):
        tuned(base, tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [{"unfreeze": "last"}, {"freeze_until": "conv4_x"}])
def test_without_a_pretrained_network_there_is_nothing_to_freeze(words: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--from"):
        convista.train("digits", model="resnet20", out=tmp_path / "run", **words)


def test_a_sweep_begins_with_a_pretrained_network_as_well(base: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"epochs": 1, "unfreeze": "none", "from_": base}
    found = convista.sweep("digits", ["limit=40,80", "seed=0..1"], out=tmp_path / "sweep", **words)
    assert [setting.test["top1"].n for setting in found.settings] == [2, 2]
    shutil.rmtree(tmp_path / "sweep" / "limit=80,seed=1")
    again = convista.sweep(resume=tmp_path / "sweep")
    assert [setting.test["top1"].n for setting in again.settings] == [2, 2]
    with pytest.raises(InputError, match="leaves no choice"):
        convista.sweep("digits", ["model=resnet18,vgg11"], out=tmp_path / "other", **words)


def test_a_network_begins_as_it_was_whose_constants_came_with_its_weights(base: Path, tmp_path: Path) -> None:
    from convista.models import save_weights
    from convista.transfer import pretrained

    other = convista.create(convista.create("resnet20", classes=4, channels=1).spec.with_norm(0.05))
    other.preprocessing = pretrained(str(base)).net.preprocessing
    save_weights(other, tmp_path / "w.safetensors")
    run = convista.train(
        "digits", from_="resnet20", weights=tmp_path / "w.safetensors", unfreeze="none", epochs=1, limit=40,
        out=tmp_path / "run",
    )  # fmt: skip
    again = pretrained(str(run.path))
    eps = {m.eps for m in again.for_classes(3).modules() if isinstance(m, nn.BatchNorm2d)}
    assert eps == {0.05}
    assert convista.eval(run).top1 == run.test.top1


def test_maps_may_be_vectors(tmp_path: Path) -> None:
    convista.train("digits", model="lenet5", epochs=1, limit=60, out=tmp_path / "base")
    run = tuned(tmp_path / "base", tmp_path / "run", freeze_until="f6", mixup=0.2)
    assert run.done


def test_test_pictures_that_the_network_knows_are_told_of(base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    words: dict[str, Any] = {"epochs": 1, "limit": 48, "seed": 1, "unfreeze": "none"}
    convista.train("digits", from_=base, out=tmp_path / "run", console=Console(say=said.append), **words)
    assert any("test pictures are among those" in text for text in said)


def test_a_diverged_tuning_is_recorded(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"less: --lr 0\.001\.$"):
        tuned(base, tmp_path / "run", unfreeze="all", lr=1e30, clip=0.0, precision="fp32", epochs=4)
    assert convista.Run.load(tmp_path / "run").diverged
    with pytest.raises(DivergedError):
        convista.train(resume=tmp_path / "run")


def test_a_run_s_recipe_serves_another(base: Path, tmp_path: Path) -> None:
    run = tuned(base, tmp_path / "run", unfreeze="last", epochs=1)
    again = convista.train("digits", recipe=run.path, out=tmp_path / "again")
    assert (again.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_words_without_use_are_named(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convista.transfer import plan

    monkeypatch.setattr(plan, "SURE", 0.0)
    said: list[str] = []
    tuned(base, tmp_path / "run", class_weights=True, console=Console(say=said.append))
    assert any(text.startswith("batch, class_weights: for what learns further") for text in said)
