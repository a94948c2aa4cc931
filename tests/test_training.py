"""Optimisers, schedules, scores and the guard against losses that are not numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score
from torch import nn

import convista
from convista.data import Batch, open_source, prepare
from convista.errors import DivergedError, InputError, UnknownNameError
from convista.recipe import Recipe
from convista.records import View
from convista.training import (
    OPTIMIZERS,
    Console,
    Training,
    Where,
    calibration_error,
    default_lr,
    make_optimizer,
    rate,
    score,
    share_statistics,
    softmax,
)


def training(photos: Path, folder: Path, **words: object) -> Training:
    found = prepare(open_source(photos), 16, 3, 0, None)
    recipe = Recipe.of(**{"model": "resnet20", "epochs": 2, "batch": 9, "precision": "fp32"} | words)
    folder.mkdir()
    torch.manual_seed(0)
    net = convista.create("resnet20", classes=3)
    view = View(16, 16)
    return Training(net, found.splits["train"], found.splits["val"], view, recipe, Where(folder))


def test_the_rate_rises_linearly_and_falls_like_half_a_cosine() -> None:
    rates = [rate("cosine", step, 100, 10) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)
    assert all(a >= b for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "muon"])
def test_norms_and_biases_do_not_decay(name: str) -> None:
    net = convista.create("resnet20")
    decayed, free = make_optimizer(net, Recipe.of(optimizer=name, weight_decay=0.1)).param_groups
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(net.parameters()))
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_the_default_rate_follows_the_batch() -> None:
    assert default_lr(Recipe.of(optimizer="nesterov", batch=256)) == 2 * default_lr(
        Recipe.of(optimizer="nesterov", batch=128)
    )
    assert default_lr(Recipe.of(batch=256)) == 2 * default_lr(Recipe.of(batch=64))


def judged(n: int = 400, classes: int = 7):
    random = np.random.default_rng(0)
    targets = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), targets] += 1.5
    prior = random.dirichlet(np.ones(classes) * 5)
    return logits, targets, prior, score(logits, targets, tuple("abcdefg"), prior)


def test_scores_equal_scikit_learns() -> None:
    logits, targets, prior, found = judged()
    probabilities, said = softmax(logits), logits.argmax(1)
    assert found.top1 == pytest.approx((said == targets).mean())
    assert found.top5 == pytest.approx(top_k_accuracy_score(targets, logits, k=5))
    assert found.loss == pytest.approx(log_loss(targets, probabilities))
    assert np.array_equal(found.confusion, confusion_matrix(targets, said))
    precision, recall, _, support = precision_recall_fscore_support(targets, said)
    assert [c.precision for c in found.classes] == pytest.approx(precision)
    assert [c.recall for c in found.classes] == pytest.approx(recall)
    assert [c.pictures for c in found.classes] == support.tolist()
    assert found.floor["top1"] == pytest.approx((targets == prior.argmax()).mean())
    assert found.floor["loss"] == pytest.approx(-np.log(prior[targets]).mean())


def test_calibration_error_equals_its_definition() -> None:
    logits, targets, *_ = judged()
    probabilities = softmax(logits)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == targets
    slow = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            slow += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert calibration_error(confidence, correct) == pytest.approx(slow)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


def test_a_class_that_never_comes_has_no_recall() -> None:
    found = score(np.eye(3)[[0, 1]], np.array([0, 1]), ("a", "b", "c"), np.ones(3) / 3)
    assert found.classes[2].recall is None
    assert found.classes[2].precision is None


def norm_with_activation() -> nn.Module:
    return pytest.importorskip("timm.layers").BatchNormAct2d(5, act_layer=nn.SiLU)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("make", "shape"), [
    (lambda: nn.BatchNorm2d(5), (6, 5, 4, 3)),
    (lambda: nn.BatchNorm2d(5, affine=False), (6, 5, 4, 3)),
    (lambda: nn.BatchNorm2d(5, momentum=None), (6, 5, 4, 3)),
    (lambda: nn.BatchNorm1d(5), (6, 5)),
    (lambda: nn.BatchNorm1d(5), (6, 5, 4)),
    (norm_with_activation, (6, 5, 4, 3)),
])  # fmt: skip
def test_batch_norm_over_processes_equals_torchs_in_one(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """With one process there is nothing to add up, and the formulas must agree."""
    torch.distributed.init_process_group("gloo", init_method="tcp://127.0.0.1:29533", rank=0, world_size=1)
    try:
        ours, theirs = nn.Sequential(make()), make()
        for parameter in (*ours.parameters(), *theirs.parameters()):
            nn.init.constant_(parameter, 1.3)
        share_statistics(ours)
        assert "Global" in type(ours[0]).__name__
        share_statistics(ours)  # a second time changes nothing
        ours = ours[0]
        x = (torch.randn(*shape) * 3 + 1).requires_grad_()
        z = x.detach().clone().requires_grad_()
        a, b = ours(x), theirs(z)
        a.square().sum().backward()
        b.square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-5)
    assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(x.grad, z.grad, atol=1e-4)
    for key, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[key].double(), value.double(), atol=1e-6), key


class OwnNorm(nn.BatchNorm2d):
    """Whatever its `forward` does, we cannot know it."""


@pytest.mark.parametrize(("norm", "reason"), [
    (OwnNorm(3), "of kind OwnNorm"),
    (nn.BatchNorm3d(3), "of kind BatchNorm3d"),
    (nn.BatchNorm2d(3, track_running_stats=False), "keeps no running statistics"),
])  # fmt: skip
def test_batch_norm_that_would_keep_to_one_process_is_refused(norm: nn.Module, reason: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(norm))
    with pytest.raises(InputError, match=rf"layer 1\.0 .*{reason}.*on one process"):
        share_statistics(net)


def test_a_loss_that_is_not_a_number_leaves_no_trace(photos: Path, tmp_path: Path) -> None:
    job, said = training(photos, tmp_path / "run"), []
    job.console = Console(say=said.append)
    poison = iter([False, True, False, False, False, False, False])
    honest = job.objective
    job.objective = lambda *args: honest(*args) * (math.nan if next(poison) else 1.0)  # type: ignore[assignment]
    states = [{key: value.clone() for key, value in job.net.state_dict().items()}]
    step = job.step

    def watched(*args: object) -> None:
        step(*args)
        states.append({key: value.clone() for key, value in job.net.state_dict().items()})

    job.step = watched  # type: ignore[method-assign]
    job.run()
    assert not all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert all(torch.equal(states[0][key], states[2][key]) for key in states[0])  # one step back
    assert not all(torch.equal(states[2][key], states[3][key]) for key in states[0])
    assert job.state.lr_scale == 0.5
    assert any("epoch 1, step 2: the loss is not a number" in text for text in said)
    assert job.state.history[-1].lr < job.peak


@pytest.mark.parametrize("call", [4, 5])  # in the middle of the second epoch, and its last
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_one_step_that_ruins_the_weights_is_undone(photos: Path, tmp_path: Path, optimizer: str, call: int) -> None:
    job = training(photos, tmp_path / "run", epochs=3, optimizer=optimizer)
    honest, calls = job._set_lr, iter(range(1000))

    def spoiled(step: int) -> float:
        lr = honest(step)
        if next(calls) == call:
            for group in job.optimizer.param_groups:
                group["lr"] = 1e30
        return lr

    job._set_lr = spoiled  # type: ignore[method-assign]
    history = job.run()
    assert 1 <= job.state.strikes < 3
    assert all(torch.isfinite(p).all() and p.abs().max() < 1e3 for p in job.net.parameters())
    assert math.isfinite(history[-1].train_loss)


def test_a_network_that_says_nothing_is_never_the_best(photos: Path, tmp_path: Path) -> None:
    job = training(photos, tmp_path / "run", epochs=1)
    job.state.best, job.state.best_epoch = (0.2, -1.0), 1
    with torch.no_grad():
        job.net.head.linear.weight.fill_(math.nan)
    job.state.seconds = 1.0
    job._close_epoch()
    assert job.state.best_epoch == 1
    assert math.isnan(job.state.history[-1].val_loss)


def test_the_third_loss_that_is_not_a_number_ends_the_run(photos: Path, tmp_path: Path) -> None:
    job = training(photos, tmp_path / "run", lr=1e30)
    with pytest.raises(DivergedError, match=r"3rd time .*--lr 0\.00\d+\."):
        job.run()


def test_a_diverged_run_is_recorded_as_such_and_says_what_to_do(photos: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "run", {"model": "resnet20", "image": 16, "epochs": 4, "batch": 8, "precision": "fp32"}
    with pytest.raises(DivergedError, match="3rd time") as caught:
        convista.train(photos, out=out, lr=1e30, **words)
    command = f"convista lr-find {photos} --model resnet20 --recipe {out}"
    assert command in str(caught.value)
    finding = next(finding for finding in convista.doctor(out).findings if finding.code == "diverged")
    assert command in finding.text
    for again in (lambda: convista.train(resume=out), lambda: convista.report(out)):
        with pytest.raises(InputError, match="It diverged, and would again") as caught:
            again()
        assert command in str(caught.value)
        assert "Start again with less: --lr 0.00" in str(caught.value)
        assert "--resume" not in str(caught.value)
    found = convista.compare(out)
    assert [run.state for run in found.runs] == ["diverged"]
    assert found.settings[0].others[0].startswith("run: diverged (The loss was not a number")
    with pytest.raises(InputError, match="Choose another --out"):
        convista.train(photos, out=out, **words)


def test_a_rate_is_advised_in_plain_digits(photos: Path, tmp_path: Path) -> None:
    job = training(photos, tmp_path / "run", lr=0.004)
    job.state.strikes = 2
    with pytest.raises(DivergedError, match=r"peak learning rate 0\.004\).*--lr 0\.0004\."):
        job._strike()


def test_labels_are_smoothed_and_gradients_clipped(photos: Path, tmp_path: Path) -> None:
    job = training(photos, tmp_path / "run", label_smoothing=0.2, clip=0.01)
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    smooth = 0.8 * torch.eye(3)[targets] + 0.2 / 3
    batch = Batch(torch.empty(0), targets)
    assert float(job.objective(logits, batch)) == pytest.approx(float(-(smooth * logits.log_softmax(1)).sum()))
    for p in job.net.parameters():
        p.grad = torch.ones_like(p)
    job.arithmetic.clip(job.net, job.optimizer, 0.01)
    assert float(torch.stack([p.grad.norm() for p in job.net.parameters()]).norm()) == pytest.approx(0.01, rel=1e-3)


def test_patience_ends_a_run_that_no_longer_improves(photos: Path, tmp_path: Path) -> None:
    job = training(photos, tmp_path / "run", epochs=50, patience=2, lr=1e-60)
    assert len(job.run()) == job.state.best_epoch + 2 < 50


def test_the_kept_weights_are_the_best_epochs(photos: Path, tmp_path: Path) -> None:
    job = training(photos, tmp_path / "run", epochs=4)
    history = job.run()
    best = max(history, key=lambda row: (row.val_top1, -row.val_loss))
    assert job.state.best_epoch == best.epoch


def test_training_leaves_the_callers_generator_alone(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    job = training(photos, tmp_path / "run", epochs=1)
    torch.manual_seed(5)
    job.run()
    assert torch.equal(torch.rand(3), expected)


def test_half_precision_learns_too(photos: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = training(photos, tmp_path / "run", epochs=3, precision="bf16")
        history = job.run()
    assert history[-1].train_loss < history[0].train_loss
    assert all(p.dtype == torch.float32 for p in job.net.parameters())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"epochs": 0}, "epochs=0 was given; it must be at least 1"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"label_smoothing": 1.0}, "must be below 1"),
        ({"epochs": 1.5}, "epochs=1.5 was given; expected a whole number"),
        ({"epochs": True}, "epochs=True was given; expected a whole number"),
        ({"crop": "no"}, "crop='no' was given; expected true or false"),
        ({"lr": "abc"}, "lr='abc' was given; expected a number"),
        ({"model": None}, "model=None was given; expected a text"),
        ({"optimizer": "adamv"}, "Did you mean adam"),
        ({"epoch": 1}, "Did you mean epochs"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe.of(**words)


def test_unknown_words_are_unknown_names() -> None:
    with pytest.raises(UnknownNameError):
        Recipe.of(precision="fp8")
