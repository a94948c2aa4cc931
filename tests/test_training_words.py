"""What each word of training does: losses, class balance, fp16, recalibration, whitening, views, contact sheets."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convista as library
from conftest import Call, json_of
from convista.data import Batch, Prepared, global_batches, open_source, prepare
from convista.errors import InputError
from convista.recipe import Recipe
from convista.records import View
from convista.tasks.contact import _mixed
from convista.training import (
    Arithmetic,
    Objective,
    Training,
    Where,
    World,
    balancing_weights,
    initialise,
    look,
    measured_peak,
    recalibrate,
    whiten,
)
from convista.training.arithmetic import compiled


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(open_source("digits"), 8, 1, 0, None, limit=300)


def training(digits: Prepared, folder: Path, **words: object) -> Training:
    recipe = Recipe.of(**{"model": "resnet20", "epochs": 1, "batch": 50, "precision": "fp32"} | words)
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    net, view = library.create("resnet20", classes=10, channels=1), View(8, 8, 1, (0.3,), (0.35,))
    return Training(net, digits.splits["train"], digits.splits["val"], view, recipe, Where(folder))


def batch_of(*targets: int, partners: list[int] | None = None, shares: list[float] | None = None) -> Batch:
    return Batch(
        torch.empty(0), torch.tensor(targets), *(None if v is None else torch.tensor(v) for v in (partners, shares))
    )


def test_the_focal_loss_is_that_of_its_formula() -> None:
    logits = torch.randn(5, 4).double()
    p = logits.softmax(1)[torch.arange(5), [0, 3, 2, 1, 1]]
    expected = float((-((1 - p) ** 2) * p.log()).sum())
    assert float(Objective(focal=2.0)(logits, batch_of(0, 3, 2, 1, 1))) == pytest.approx(expected)


def test_the_focal_loss_has_a_slope_where_all_is_right() -> None:
    logits = torch.tensor([[40.0, 0.0], [0.0, 1.0]], requires_grad=True)
    Objective(focal=0.5)(logits, batch_of(0, 0)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().sum() > 0.1


def test_a_mixed_pictures_loss_is_that_of_both_by_their_shares() -> None:
    logits, objective = torch.randn(3, 4), Objective(smoothing=0.1)
    mixed = float(objective(logits, batch_of(0, 1, 2, partners=[3, 3, 0], shares=[0.7, 1.0, 0.2])))
    own = [float(objective(logits[i : i + 1], batch_of(i))) for i in range(3)]
    other = [float(objective(logits[i : i + 1], batch_of(t))) for i, t in enumerate([3, 3, 0])]
    assert mixed == pytest.approx(0.7 * own[0] + 0.3 * other[0] + own[1] + 0.2 * own[2] + 0.8 * other[2], rel=1e-5)


def test_class_weights_make_classes_count_alike_and_pictures_count_one_on_average() -> None:
    targets = np.array([0] * 90 + [1] * 9 + [3])
    weights = balancing_weights(targets, 4).numpy()
    assert weights[2] == 0
    sums = [weights[c] * (targets == c).sum() for c in (0, 1, 3)]
    assert sums == pytest.approx([100 / 3] * 3)
    assert weights[targets].mean() == pytest.approx(1)


def test_a_balanced_epoch_shows_every_class_equally_often() -> None:
    classes = np.array([0] * 80 + [1] * 15 + [2] * 5)
    epochs = [np.concatenate(global_batches(100, 10, 0, epoch, classes)) for epoch in range(3)]
    for order in epochs:
        assert len(order) == 100
        counts = np.bincount(classes[order % 100])
        assert counts.max() - counts.min() <= 1
        assert len(set(order.tolist())) == 100  # one that comes again has a number of its own
    large = [set(order[classes[order % 100] == 0].tolist()) for order in epochs]
    assert large[0] != large[1]
    assert np.array_equal(epochs[1], np.concatenate(global_batches(100, 10, 0, 1, classes)))


def test_half_precision_skips_a_step_that_overflows_and_goes_on(digits: Prepared, tmp_path: Path) -> None:
    job = training(digits, tmp_path / "run", precision="fp16", batch=100)
    job.arithmetic.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {key: value.clone() for key, value in job.net.named_parameters()}
    indices = np.arange(20)
    while job.arithmetic.scaler.get_scale() > 2**24:
        scale = job.arithmetic.scaler.get_scale()
        job.step(job.net, indices)
        if job.arithmetic.scaler.get_scale() < scale:
            assert job.state.seen == 0
            assert all(torch.equal(value, before[key]) for key, value in job.net.named_parameters())
        else:
            break
    assert job.state.strikes == 0
    assert job.arithmetic.scaler.get_scale() < 2**40


def test_arithmetic_in_full_precision_needs_no_scale() -> None:
    arithmetic = Arithmetic("fp32", torch.device("cpu"))
    assert not arithmetic.overflowed(math.inf)
    assert arithmetic.state() == {}


def test_recalibrated_statistics_are_the_mean_over_the_batches(digits: Prepared) -> None:
    net, train = library.create("resnet20", classes=10, channels=1), digits.splits["train"]
    view = View(8, 8, 1, (0.3,), (0.35,))
    momentum = net.conv1.norm.momentum
    recalibrate(net, train, view, torch.device("cpu"))
    pixels = np.stack([train[i] for i in np.concatenate(global_batches(len(train), 64, 0, 0))]).transpose(0, 3, 1, 2)
    x = (torch.from_numpy(pixels).float() / 255 - 0.3) / 0.35
    sizes = [len(b) for b in global_batches(len(train), 64, 0, 0)]
    maps = [net.conv1.conv(part) for part in x.split(sizes)]
    expected = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    assert torch.allclose(net.conv1.norm.running_mean, expected, atol=1e-5)
    assert net.conv1.norm.momentum == momentum
    assert not net.training


@pytest.mark.parametrize("size", [1, 2, 32, 33, 70, 200])
def test_every_process_has_pictures_to_recalibrate_on(digits: Prepared, size: int) -> None:
    """However many they are; up to 32 of them share the batches of one."""
    train, view = digits.splits["train"], View(8, 8, 1, (0.3,), (0.35,))
    shares: list[list[int]] = []
    for rank in range(size):
        net, mine = nn.Sequential(nn.BatchNorm2d(1)), []
        net.register_forward_pre_hook(lambda _, x, mine=mine: mine.append(len(x[0])))
        recalibrate(net, train, view, torch.device("cpu"), World(rank, size))
        shares.append(mine)
    assert {len(mine) for mine in shares} == {len(shares[0])}
    assert min(map(min, shares)) > 0
    if size <= 32:
        assert [sum(batch) for batch in zip(*shares, strict=True)] == [
            len(batch) for batch in global_batches(len(train), 64, 0, 0)
        ]


def test_views_are_mirrored_and_moved_and_averaged() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(look(net, x), net(x))
    assert torch.allclose(look(net, x, 2), (net(x) + net(x.flip(3))) / 2, atol=1e-5)
    wide = nn.functional.pad(x, (1, 1, 1, 1), "reflect")
    moved = [x, wide[:, :, :32, :32], wide[:, :, 2:, 2:]]
    six = torch.stack([net(v) for m in moved for v in (m, m.flip(3))]).mean(0)
    assert torch.allclose(look(net, x, 6), six, atol=1e-5)


def test_a_whitened_first_layer_makes_patches_uncorrelated() -> None:
    torch.manual_seed(0)
    base = torch.randn(64, 3, 8, 8)
    batch = nn.functional.interpolate(base, 32, mode="bilinear")  # neighbours are alike
    net = nn.Sequential(nn.Conv2d(3, 30, 2))
    own = net[0].weight.clone()
    whiten(net, batch)
    kernels = net[0].weight[:12].detach()
    assert torch.equal(net[0].weight[12:24], -kernels)
    assert torch.equal(net[0].weight[24:], own[24:])
    out = nn.functional.conv2d(batch, kernels).transpose(0, 1).flatten(1)
    second = out @ out.T / out.shape[1]
    assert (second - torch.diag(second.diag())).abs().max() < 0.05
    assert second.diag()[:6].sub(1).abs().max() < 0.1


def test_a_whitened_layer_is_not_learned_and_its_bias_is(photos: Path, tmp_path: Path) -> None:
    words = {"model": "lenet5", "batch": 8, "whiten": True, "seed": 3}
    short = library.train(photos, epochs=1, out=tmp_path / "short", **words)
    longer = library.train(photos, epochs=2, out=tmp_path / "longer", **words)
    first = [next(m for m in run.net.modules() if isinstance(m, nn.Conv2d)) for run in (short, longer)]
    assert torch.equal(first[0].weight, first[1].weight)
    assert not torch.equal(first[0].bias, first[1].bias)


def test_dirac_kernels_pass_their_input_on() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1))
    initialise(net, Recipe.of(init="dirac"), lambda: torch.empty(0))
    x = torch.randn(1, 4, 6, 6)
    assert torch.allclose(net(x)[:, :4], x, atol=1e-6)
    assert not torch.allclose(net(x)[:, 4:], x)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="needs a C++ compiler")
def test_a_compiled_network_learns_the_same(photos: Path, tmp_path: Path) -> None:
    words = {"model": "lenet5", "epochs": 1, "batch": 8, "precision": "fp32"}
    plain = library.train(photos, out=tmp_path / "plain", **words)
    fast = library.train(photos, out=tmp_path / "fast", compile=True, **words)
    assert fast.history[0].train_loss == pytest.approx(plain.history[0].train_loss, rel=1e-4)
    assert set(fast.net.state_dict()) == set(plain.net.state_dict())


def test_without_a_compiler_compiling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="C\\+\\+ compiler"):
        compiled(nn.Identity(), torch.device("cpu"))


def test_the_machines_peak_is_a_rate() -> None:
    assert measured_peak(torch.device("cpu"), "fp32") > 1e8


@pytest.mark.parametrize("words", [
    {"views": 3}, {"augment": "sideways"}, {"mixup": -1}, {"focal": -0.5}, {"precision": "fp8"}, {"init": "random"},
])  # fmt: skip
def test_words_that_make_no_sense_are_refused_before_anything_is_written(
    words: dict[str, object], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        library.train(photos, model="lenet5", out=tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


def test_whitening_is_refused_where_the_first_layer_is_no_ordinary_convolution() -> None:
    with pytest.raises(InputError, match="Leave --whiten out"):
        whiten(nn.Sequential(nn.Linear(3, 3)), torch.zeros(1, 3, 2, 2))


def test_a_run_says_its_augmentation_in_full(photos: Path, tmp_path: Path) -> None:
    run = library.train(
        photos, model="lenet5", epochs=1, augment="strong", crop=False, flip=False, out=tmp_path / "run"
    )
    assert run.recipe.augment == "strong"
    assert run.info["policy"].startswith("rotate=10,brightness=0.4")


def test_a_contact_sheet_shows_pictures_and_epochs(convista: Call, photos: Path, tmp_path: Path) -> None:
    done = convista("augment", photos, "--augment", "strong", "--image", "16", "--pictures", "4", "--epochs", "3",
                        "--mixup", "0.2", "--out", tmp_path / "sheet.png", "--json")  # fmt: skip
    told = json_of(done)
    assert told["policy"].startswith("resized=0.35,flip")
    with Image.open(tmp_path / "sheet.png") as image:
        assert min(image.size) > 4 * 128
    again = library.augment(photos, "strong", image=16, pictures=4, epochs=3, mixup=0.2, out=tmp_path / "again.png")
    assert again.path.read_bytes() == (tmp_path / "sheet.png").read_bytes()


def test_a_contact_sheet_says_what_was_mixed_in(convista: Call, tmp_path: Path) -> None:
    words = ["--pictures", "2", "--epochs", "2", "--out", tmp_path / "sheet.png"]
    plain, mixed = convista("augment", "digits", *words), convista("augment", "digits", *words, "--cutmix", "1")
    assert "mixed" not in plain.stdout
    assert "mixed:  cutmix 1\n" in mixed.stdout
    assert "sheet.png was there already and was replaced" in mixed.stderr
    assert "was there already" not in plain.stderr


def test_captions_of_mixed_pictures_hold_the_own_share_and_the_others_class() -> None:
    bytes_ = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    batch = Batch(bytes_, torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.75, 0.3]))
    assert _mixed(batch, ["cat", "dog"]) == ["0.75, rest: dog", "0.30, rest: cat"]


@pytest.mark.parametrize(("words", "said"), [
    (["--augment", "rotate=900"], "expected 0 to 180"),
    (["--out", "sheet.gif"], "ends in .png or .jpg"),
    (["--pictures", "0"], "at least 1"),
    (["--mixup", "-1"], "at least 0"),
    (["--image", "8", "--pictures", "500", "--epochs", "500"], "too large a sheet"),
    (["--channels", "2"], "1 (grey) or 3 (colour)"),
])  # fmt: skip
def test_a_contact_sheet_that_cannot_be_is_refused(convista: Call, words: list[str], said: str, photos: Path) -> None:
    done = convista("augment", photos, *words)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("words", [{"pictures": "x"}, {"epochs": 2.5}, {"mixup": True}, {"colour": 1}])
def test_words_of_a_contact_sheet_are_held_to_their_kind(words: dict[str, object], photos: Path) -> None:
    with pytest.raises(InputError, match=r"was given; expected a|no option named"):
        library.augment(photos, **words)


def test_mirrored_views_need_mirrors(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="flip is off"):
        library.train(photos, model="lenet5", views=2, flip=False, epochs=1, out=tmp_path / "run")
    run = library.train("digits", model="lenet5", epochs=1, limit=100, out=tmp_path / "digits")
    with pytest.raises(InputError, match="flip is off"):  # as the run's recipe says
        library.train("digits", recipe=run.path, views=6, out=tmp_path / "again")


def test_the_words_of_augmentation_are_listed(convista: Call) -> None:
    done = convista("augment", "--words")
    assert done.returncode == 0
    assert "rotate" in done.stdout
    assert "RandAugment" in done.stdout


def test_dropout_and_stochastic_depth_are_words_of_training(photos: Path, tmp_path: Path) -> None:
    words = {"model": "resnet20", "image": 16, "epochs": 1, "batch": 8}
    run = library.train(photos, dropout=0.5, stochastic_depth=0.2, out=tmp_path / "run", **words)
    assert any(isinstance(m, nn.Dropout) and m.p == 0.5 for m in run.net.modules())
    assert run.spec == library.spec("resnet20", 3, image=16).with_dropout(0.5).with_stochastic_depth(0.2)


@pytest.mark.parametrize(("words", "said"), [
    ({"dropout": 1.0}, "must be below 1"),
    ({"stochastic_depth": 0.1}, "needs shortcuts"),
    ({"dropout": 0.5, "model": "timm:resnet18"}, "has no table"),
])  # fmt: skip
def test_dropout_where_there_is_no_place_for_it_is_refused(
    words: dict[str, object], said: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        library.train(photos, out=tmp_path / "run", **{"model": "vgg11", "image": 32} | words)
    assert not (tmp_path / "run").exists()
