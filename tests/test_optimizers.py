"""Optimisers and schedules are those of their papers, and a run resumes bit for bit with any of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import convista
from convista.data import open_source, prepare
from convista.errors import InputError, InterruptedRunError, UnknownNameError
from convista.recipe import OPTIMIZER_NAMES, SCHEDULE_NAMES, Recipe
from convista.records import View
from convista.training import (
    OPTIMIZERS,
    SCHEDULES,
    Console,
    Lamb,
    Muon,
    Training,
    Where,
    default_lr,
    drops,
    make_optimizer,
    orthogonal,
    rate,
)


def test_every_name_of_a_recipe_has_its_optimizer_and_schedule() -> None:
    assert set(OPTIMIZER_NAMES) == set(OPTIMIZERS)
    assert set(SCHEDULE_NAMES) == set(SCHEDULES)
    with pytest.raises(UnknownNameError, match="Did you mean adam"):
        Recipe.of(optimizer="adamv")
    with pytest.raises(UnknownNameError, match="Did you mean cosine"):
        Recipe.of(schedule="cosin")


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_every_schedule_stays_between_zero_and_its_peak_and_warms_up(name: str) -> None:
    rates = [rate(name, step, 200, 20) for step in range(200)]
    assert all(0 <= r <= 1 + 1e-12 for r in rates)
    assert max(rates) == pytest.approx(1, abs=1e-3)
    if name != "onecycle":
        assert rates[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])


def test_schedules_are_those_of_their_papers() -> None:
    assert [rate("step", s, 64) for s in (0, 31, 32, 47, 48, 63)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rate("exponential", 50, 100) == pytest.approx(0.1)
    assert rate("exponential", 25, 100) / rate("exponential", 26, 100) == pytest.approx(100**0.01)
    assert rate("constant", 99, 100) == 1
    starts = [s for s in range(1, 700) if rate("restarts", s, 700) > rate("restarts", s - 1, 700)]
    assert starts == [100, 300]  # cycles of 100, 200 and 400 steps
    assert [rate("restarts", s, 700) for s in (0, 50, 100, 200, 300, 500)] == pytest.approx([1, 0.5, 1, 0.5, 1, 0.5])
    one = [rate("onecycle", s, 100) for s in range(100)]
    assert one[0] == pytest.approx(1 / 25)
    assert one.index(max(one)) == 30
    assert one[-1] < 0.01


def test_plateau_takes_a_tenth_when_the_loss_stands_still() -> None:
    losses = [1.0, 0.8, *[0.9] * 5, *[0.85] * 5, 0.5]
    assert [drops(losses[:n]) for n in (2, 6, 7, 11, 12, 13)] == [0, 0, 1, 1, 2, 2]
    assert rate("plateau", 50, 100, 0, losses) == pytest.approx(0.01)
    assert drops([math.nan] * 5) == 1


def scalar_twin(steps: int, move: Callable[[int, list[float], list[float]], list[float]]) -> list[float]:
    """A walk of one vector, number by number; `move` takes the step's number, weights and gradients."""
    weights = [0.5, -1.0, 2.0]
    for step in range(1, steps + 1):
        weights = move(step, weights, [math.sin(w + step) for w in weights])
    return weights


def walked(
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer], steps: int, shape: tuple[int, ...] = (3,)
) -> list[float]:
    p = nn.Parameter(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).view(shape))
    o = optimizer([p])
    for step in range(1, steps + 1):
        p.grad = torch.sin(p.detach() + step)
        o.step()
    return p.detach().flatten().tolist()


@pytest.mark.parametrize("decay", [0.1, 0.0])
def test_lamb_is_algorithm_2_of_its_paper(decay: float) -> None:
    m, v, lr = [0.0] * 3, [0.0] * 3, 0.03

    def move(step: int, w: list[float], g: list[float]) -> list[float]:
        for i in range(3):
            m[i] = 0.9 * m[i] + 0.1 * g[i]
            v[i] = 0.999 * v[i] + 0.001 * g[i] ** 2
        r = [m[i] / (1 - 0.9**step) / (math.sqrt(v[i] / (1 - 0.999**step)) + 1e-6) + decay * w[i] for i in range(3)]
        trust = min(math.hypot(*w) / math.hypot(*r), 10.0)
        return [w[i] - lr * trust * r[i] for i in range(3)]

    found = walked(lambda p: Lamb(p, lr=lr, weight_decay=decay), 20, (1, 3))
    assert found == pytest.approx(scalar_twin(20, move), rel=1e-9)


def test_lamb_of_norms_and_biases_is_adam() -> None:
    lamb = walked(lambda p: Lamb(p, lr=0.03), 20)
    adam = walked(lambda p: torch.optim.Adam(p, lr=0.03, eps=1e-6), 20)
    assert lamb == pytest.approx(adam, rel=1e-9)


def test_muon_beside_filters_is_adamw() -> None:
    muon = walked(lambda p: Muon(p, lr=0.03, weight_decay=0.1), 20)
    adamw = walked(lambda p: torch.optim.AdamW(p, lr=0.03, betas=(0.9, 0.95), weight_decay=0.1), 20)
    assert muon == pytest.approx(adamw, rel=1e-6)


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (32, 32)])
def test_an_orthogonal_matrix_has_the_directions_of_the_one_it_was_made_of(shape: tuple[int, int]) -> None:
    """The same singular vectors, and singular values near 1: twin by singular value decomposition."""
    torch.manual_seed(0)
    matrix = torch.randn(*shape, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    made = u.T @ orthogonal(matrix) @ vh.T
    assert torch.allclose(made, torch.diag(made.diag()), atol=1e-8)
    large = s / s.norm() > 0.05
    assert ((made.diag()[large] > 0.6) & (made.diag()[large] < 1.3)).all()


def test_muons_step_of_a_filter_is_that_of_torchs_matrix() -> None:
    """torch has Muon for matrices only: in double precision and with the same momentum both go the same way."""
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(8, 4, 3, 3)), nn.Parameter(torch.zeros(8, 36))
    theirs.data.copy_(ours.detach().flatten(1))
    a = Muon([{"params": [ours], "matrix": True}], lr=0.1)
    b = torch.optim.Muon([theirs], lr=0.1, momentum=0.95, weight_decay=0.0)
    for seed in range(5):
        ours.grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
        theirs.grad = ours.grad.flatten(1)
        a.step()
        b.step()
    moved = (ours.detach().flatten(1) - theirs.detach()).norm() / theirs.detach().norm()
    assert float(moved) < 0.01  # torch iterates in bfloat16


def test_muon_turns_filters_only_and_not_the_first() -> None:
    net = convista.create("mobilenet_025")
    filters, rest, flat = make_optimizer(net, Recipe.of(optimizer="muon")).param_groups
    names = {id(p): name for name, p in net.named_parameters()}
    assert all(p.ndim == 4 and p.shape[1] > 1 for p in filters["params"])
    assert "conv1.conv.weight" in {names[id(p)] for p in rest["params"]}
    assert "head.linear.weight" in {names[id(p)] for p in rest["params"]}
    assert all(p.ndim == 1 for p in flat["params"])
    assert (rest["lr_scale"], flat["weight_decay"]) == (0.1, 0.0)
    assert sum(len(group["params"]) for group in (filters, rest, flat)) == len(names)


def test_default_rates_grow_with_the_batch_or_its_root() -> None:
    for name in OPTIMIZERS:
        ratio = default_lr(Recipe.of(optimizer=name, batch=256)) / default_lr(Recipe.of(optimizer=name, batch=64))
        assert ratio == pytest.approx(4 if name in ("sgd", "momentum", "nesterov") else 2)


@pytest.fixture(scope="module")
def digits():
    return prepare(open_source("digits"), 8, 1, 0, None)


def training(digits, folder: Path, **words: object) -> Training:
    recipe = Recipe.of(
        **{"model": "resnet20", "epochs": 1, "batch": 128, "precision": "fp32", "warmup": 0.2, "augment": "none"}
        | words
    )
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    net = convista.create("resnet20", classes=10, channels=1)
    view = View(8, 8, 1, (0.3,), (0.35,))
    return Training(net, digits.splits["train"], digits.splits["val"], view, recipe, Where(folder))


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimizer_learns_at_its_default_rate(digits, tmp_path: Path, name: str) -> None:
    history = training(digits, tmp_path / "run", optimizer=name, epochs=2).run()
    assert history[-1].train_top1 > 0.5


def whole_and_resumed(digits, folder: Path, words: dict[str, object]) -> tuple[Training, Training]:
    """A run to its end, and one that was stopped behind its seventh step and went on."""
    whole = training(digits, folder / "whole", **words)
    whole.run()
    stopped = training(digits, folder / "stopped", **words)
    asked = iter([False] * 6 + [True] * 100)
    stopped.console = Console(stopped=lambda: next(asked))
    with pytest.raises(InterruptedRunError):
        stopped.run()
    resumed = training(digits, folder / "stopped", **words)
    resumed.load()
    assert resumed.state.epoch * resumed.steps + resumed.state.batch == 7
    resumed.run()
    return whole, resumed


@pytest.mark.parametrize(("optimizer", "schedule"), list(zip(OPTIMIZERS, [*SCHEDULE_NAMES, "cosine"], strict=True)))
def test_a_run_resumes_bit_for_bit_with_every_optimizer_and_schedule(
    digits, tmp_path: Path, optimizer: str, schedule: str
) -> None:
    words = {"optimizer": optimizer, "schedule": schedule, "epochs": 2, "batch": 256}
    whole, resumed = whole_and_resumed(digits, tmp_path, words)
    ours, theirs = resumed.net.state_dict(), whole.net.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert [row.lr for row in resumed.state.history] == [row.lr for row in whole.state.history]


@pytest.mark.parametrize(
    "words", [{"ema": 0.9}, {"accumulate": 4}, {"ema": 0.99, "accumulate": 3, "optimizer": "muon"}]
)
def test_a_run_with_average_and_parts_resumes_bit_for_bit(digits, tmp_path: Path, words: dict[str, object]) -> None:
    words = {"epochs": 2, "batch": 256} | words
    whole, resumed = whole_and_resumed(digits, tmp_path, words)
    for ours, theirs in ((resumed.net, whole.net), (resumed.kept, whole.kept)):
        assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())


def test_the_average_is_that_of_its_formula(digits, tmp_path: Path) -> None:
    job = training(digits, tmp_path / "run", ema=0.5, batch=512)
    twin = {key: value.clone().double() for key, value in job.net.state_dict().items()}
    step = job.step
    seen = []

    def watched(*args: object) -> None:
        step(*args)
        share = 1 - min(0.5, (1 + len(seen)) / (10 + len(seen)))
        seen.append(share)
        for key, value in job.net.state_dict().items():
            twin[key] = twin[key] + share * (value.double() - twin[key]) if value.is_floating_point() else value

    job.step = watched  # type: ignore[method-assign]
    job.run()
    assert seen[:2] == pytest.approx([0.9, 1 - 2 / 11])
    for key, value in job.kept.state_dict().items():
        assert torch.allclose(value.double(), twin[key].double(), atol=1e-5), key
    saved = convista.create("resnet20", classes=10, channels=1, weights=tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), job.kept.parameters(), strict=True))


def test_parts_add_up_to_the_batch(digits, tmp_path: Path) -> None:
    """Without batch normalisation, whose statistics are those of a part, the gradients are the same."""

    def gradients(parts: int) -> list[Tensor]:
        job = training(digits, tmp_path / f"run{parts}", accumulate=parts, label_smoothing=0.0)
        job.net.eval()
        job.net.train = lambda mode=True: job.net  # type: ignore[method-assign]
        loss, hits = job._gradients(job.net, torch.arange(100).numpy())
        return [torch.tensor([loss, hits]), *(p.grad for p in job.net.parameters() if p.grad is not None)]

    for a, b in zip(gradients(1), gradients(7), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_out_of_memory_splits_the_batch_once_and_goes_on(digits, tmp_path: Path) -> None:
    job, said = training(digits, tmp_path / "run", batch=256), []
    job.console = Console(say=said.append)
    honest = job._backward

    def small(net: nn.Module, indices: object, count: int, following: object = None) -> tuple[float, float]:
        if len(indices) > 100:  # type: ignore[arg-type]
            raise torch.OutOfMemoryError("no more")
        return honest(net, indices, count, None)  # type: ignore[arg-type]

    job._backward = small  # type: ignore[method-assign]
    history = job.run()
    assert job.state.parts == 4
    assert [text for text in said if "Out of memory" in text] == [
        "Out of memory: each batch passes in 2 parts from here on.",
        "Out of memory: each batch passes in 4 parts from here on.",
    ]
    assert history[-1].train_top1 > 0.2


def test_memory_for_nothing_is_one_clear_error(digits, tmp_path: Path) -> None:
    job = training(digits, tmp_path / "run", batch=16)

    def never(*_: object) -> tuple[float, float]:
        raise torch.OutOfMemoryError("no more")

    job._backward = never  # type: ignore[method-assign]
    with pytest.raises(InputError, match="not enough memory"):
        job.run()


@pytest.mark.parametrize(
    ("words", "said"),
    [({"ema": 1.0}, "ema=1.0"), ({"accumulate": 0}, "at least 1"), ({"accumulate": 40, "batch": 64}, "at most 32")],
)
def test_words_that_make_no_sense_are_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Recipe.of(**words)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="lr=-1"):
        Recipe.of(lr=-1.0)
