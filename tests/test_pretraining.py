"""Features without labels: the losses are the papers', runs resume to the byte, many processes learn as one."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convista
from conftest import Call, json_of, picture
from convista.data import Augmentation, open_source, prepare, read_policy
from convista.errors import DataError, DivergedError, InputError, InterruptedRunError, RunError, UnknownNameError
from convista.feature_recipes import SelfRecipe
from convista.files import write_atomically
from convista.records import View
from convista.selfsup import Encoder, Keys, info_nce, nt_xent
from convista.tasks import Run
from convista.training import Console, Undo
from convista.transfer import Trunk

SMALL = {"model": "lenet5", "batch": 12, "projection": 8, "warmup": 0}


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Cosine, from its definition."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (  # type: ignore[return-value]
        torch.sqrt(sum(x * x for x in a)) * torch.sqrt(sum(y * y for y in b))  # type: ignore[arg-type]
    )


def slow_nt_xent(z: Tensor, temperature: float) -> Tensor:
    """Equation 1 of SimCLR over all positive pairs, both ways, term by term."""
    n, total = len(z) // 2, torch.zeros((), dtype=z.dtype)
    for i in range(2 * n):
        j = i + n if i < n else i - n
        below = sum(torch.exp(dot(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        total = total - torch.log(torch.exp(dot(z[i], z[j]) / temperature) / below)
    return total / (2 * n)


def slow_info_nce(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Equation 1 of MoCo, term by term."""
    total = torch.zeros((), dtype=q.dtype)
    for query, key in zip(q, k, strict=True):
        own = torch.exp(dot(query, key) / temperature)
        others = sum(torch.exp(dot(query, other) / temperature) for other in queue)
        total = total - torch.log(own / (own + others))
    return total / len(q)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "temperature"), [(1, 0.5), (2, 0.1), (5, 0.5), (7, 1.0)])
def test_the_loss_of_simclr_is_the_papers_and_so_is_its_slope(n: int, temperature: float) -> None:
    ours, theirs = (drawn(2 * n, 6, seed=n).requires_grad_() for _ in range(2))
    loss, slow = nt_xent(ours, temperature)[0].mean(), slow_nt_xent(theirs, temperature)
    assert loss.item() == pytest.approx(slow.item(), abs=1e-6)
    loss.backward()
    slow.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=0)
    assert nt_xent(ours.float(), temperature)[0].mean().item() == pytest.approx(slow.item(), abs=1e-6)


@pytest.mark.parametrize(("n", "keys", "temperature"), [(1, 1, 0.2), (4, 9, 0.07), (6, 3, 0.2)])
def test_the_loss_of_moco_is_the_papers_and_so_is_its_slope(n: int, keys: int, temperature: float) -> None:
    queue = nn.functional.normalize(drawn(keys, 5, seed=3))
    ours, theirs = (drawn(n, 5, seed=1).requires_grad_() for _ in range(2))
    k = drawn(n, 5, seed=2)
    loss, slow = info_nce(ours, k, queue, temperature)[0].mean(), slow_info_nce(theirs, k, queue, temperature)
    assert loss.item() == pytest.approx(slow.item(), abs=1e-6)
    loss.backward()
    slow.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=0)


def test_processes_with_uneven_shares_have_the_loss_of_one() -> None:
    n, whole = 5, drawn(10, 4)
    losses, right = nt_xent(whole, 0.5)
    for rank in range(2):
        mine = torch.arange(rank, n, 2)
        places = torch.cat([mine, mine + n])
        own, hits = nt_xent(whole[places], 0.5, whole, places)
        torch.testing.assert_close(own, losses[places])
        assert torch.equal(hits, right[places])


def test_what_is_told_apart_perfectly_costs_almost_nothing_and_chance_costs_the_logarithm() -> None:
    same = torch.ones(8, 3)
    assert nt_xent(same, 0.5)[0].mean().item() == pytest.approx(math.log(7))
    apart = torch.eye(4).repeat(2, 1)
    assert nt_xent(apart, 0.01)[0].max().item() < 1e-6


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_the_queue_keeps_the_last_keys_in_their_order_for_any_size_of_batch() -> None:
    keys, twin = Keys(linear(), 0.9, 7, 3, seed=0), deque(maxlen=7)
    twin.extend(keys.queue.tolist())
    for step, count in enumerate((3, 1, 4, 7, 2)):
        new = torch.randn(count, 3, generator=torch.Generator().manual_seed(step))
        keys.enqueue(new)
        twin.extend((new / new.norm(dim=1, keepdim=True)).tolist())
        oldest_first = keys.queue.roll(-int(keys.place), 0)
        torch.testing.assert_close(oldest_first, torch.tensor(list(twin)))


def test_the_second_encoder_follows_the_first_by_the_papers_equation() -> None:
    net = linear()
    keys = Keys(net, 0.5, 4, 3, seed=0)
    twin = {name: value.clone().double() for name, value in net.state_dict().items()}
    for step in range(20):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.1 * (step + 1))
            net[1].running_mean.add_(1)
        keys.follow(net, step)
        for name, value in net.state_dict().items():
            momentum = min(0.5, (1 + step) / (10 + step)) if name.startswith("1.running") else 0.5
            twin[name] = momentum * twin[name] + (1 - momentum) * value if value.is_floating_point() else value
    for name, value in keys.net.state_dict().items():
        torch.testing.assert_close(value.double(), twin[name].double(), rtol=1e-6, atol=1e-6)


def test_a_key_does_not_depend_on_the_batch_it_came_in() -> None:
    keys, x = Keys(linear(), 0.9, 4, 3, seed=0), torch.randn(6, 4)
    torch.testing.assert_close(keys.of(x)[:1], keys.of(x[:1]))


def test_a_step_that_is_undone_leaves_the_queue_as_it_was() -> None:
    net = linear()
    keys = Keys(net, 0.9, 4, 3, seed=0)
    undo = Undo(net, torch.optim.SGD(net.parameters(), lr=0.1), keys.tensors)
    before = [tensor.clone() for tensor in keys.tensors]
    undo.note()
    keys.coming = torch.ones(3, 3)
    keys.follow(net, 0)
    assert int(keys.place) == 3
    undo.back()
    assert all(torch.equal(a, b) for a, b in zip(keys.tensors, before, strict=True))


def test_the_encoder_gives_what_the_classifier_was_given() -> None:
    by_maps = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for net in (convista.spec("lenet5", 3, 3, 32)(), convista.spec("resnet20", 3, 3, 32)(), by_maps):
        x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
        trunk = Trunk(net, View(32, 32), torch.device("cpu"))
        wanted, normalised = trunk(x), trunk.normalise(x)
        encoder = Encoder(net)
        torch.testing.assert_close(encoder(normalised), wanted)
        assert encoder.width == wanted.shape[1]


def test_two_views_of_a_picture_differ_and_depend_on_nothing_else(photos: Path) -> None:
    pictures = prepare(open_source(photos), 32, 3, 0, None).splits["train"]
    augment = Augmentation(read_policy("simclr_small"), View(32, 32), seed=1)
    n = len(pictures)
    together = augment(pictures, np.array([3, 5, 3 + n, 5 + n]), 2).pictures
    assert not torch.equal(together[0], together[2])
    assert torch.equal(augment(pictures, np.array([3 + n]), 2).pictures[0], together[2])
    assert not torch.equal(augment(pictures, np.array([3 + n]), 3).pictures[0], together[2])


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, and nothing else."""
    folder = tmp_path_factory.mktemp("flat") / "photos"
    folder.mkdir()
    for i in range(30):
        picture(i, i).save(folder / f"{i:03d}.png")
    return folder


def checkpoint(folder: Path) -> dict[str, object]:
    content = torch.load(folder / "last.ckpt", weights_only=True)
    content["state"].pop("seconds")
    for row in content["state"]["history"]:
        row.pop("seconds"), row.pop("pictures_per_second")
        row.update({name: repr(value) for name, value in row.items()})  # what is no number equals itself
    return content


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("words", [{"method": "simclr"}, {"method": "moco", "queue": 17, "momentum_encoder": 0.9}])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(flat: Path, tmp_path: Path, words: dict[str, object]) -> None:
    words = words | SMALL | {"epochs": 3}
    whole = convista.pretrain(flat, out=tmp_path / "whole", **words)
    calls = iter(range(100))
    console = Console(stopped=lambda: next(calls) >= 4)  # in the middle of the second epoch
    with pytest.raises(InterruptedRunError, match="convista pretrain --resume"):
        convista.pretrain(flat, out=tmp_path / "parts", console=console, **words)
    with pytest.raises(RunError, match="made by pretrain"):
        convista.train(resume=tmp_path / "parts")
    parts = convista.pretrain(resume=tmp_path / "parts")
    assert same(checkpoint(parts.path), checkpoint(whole.path))
    weights = [(run.path / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]


def test_a_run_without_labels_says_so_names_no_classes_and_feeds_a_head(
    flat: Path, photos: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    run = convista.pretrain(flat, out=tmp_path / "ssl", console=Console(say=said.append), epochs=1, **SMALL)
    assert "knn" not in run.info
    assert any("No labels" in line for line in said)
    for ask in (lambda: run.predict(flat / "000.png"), lambda: run.evaluate(), lambda: run.test):
        with pytest.raises(RunError, match="names no classes"):
            ask()
    assert "There were no labels" in (run.path / "report.html").read_text()
    learned = convista.train(photos, from_=run.path, epochs=2, out=tmp_path / "head")
    assert learned.recipe.model == "lenet5"
    assert learned.test.top1 >= learned.test.floor["top1"]
    ours, theirs = Run.load(run.path).net.state_dict(), learned.net.state_dict()
    same_rows = [name for name, value in ours.items() if value.shape == theirs[name].shape]
    assert len(same_rows) == len(ours) - 2
    assert all(torch.equal(ours[name], theirs[name]) for name in same_rows)


def test_labels_judge_beside_floors_and_the_probe_becomes_the_last_layer(photos: Path, tmp_path: Path) -> None:
    run = convista.pretrain(photos, out=tmp_path / "ssl", epochs=1, method="moco", **SMALL)
    assert run.info["pretrain"]["queue"] == max(12, len(open_rows(run, "train")) // 4)
    assert set(run.info["floors"]["random"]) == {"val", "test", "probe"}
    for split in ("val", "test"):
        assert run.info["knn"][split] == pytest.approx(slow_vote(run, photos, split))
    score, _ = run.evaluate()
    assert score.top1 == pytest.approx(run.test.top1)
    page = (run.path / "report.html").read_text()
    assert "before learning" in page
    assert "linear probe" in page


def slow_vote(run: Run, photos: Path, split: str) -> float:
    """Top-1 of the training pictures' vote, each weighing exp(cosine / 0.07), picture by picture."""
    seen = convista.features(run.path, photos)
    place = {path: row for row, path in enumerate(seen.paths)}
    rows = {name: [place[line.split(",", 3)[3]] for line in open_rows(run, name)] for name in ("train", split)}
    units = seen.vectors.astype(np.float64) / np.linalg.norm(seen.vectors, axis=1, keepdims=True)
    right = 0
    for query in rows[split]:
        votes: dict[str, float] = {}
        for voter in rows["train"]:
            votes[seen.labels[voter]] = votes.get(seen.labels[voter], 0) + np.exp(units[query] @ units[voter] / 0.07)
        right += max(votes, key=lambda label: votes[label]) == seen.labels[query]
    return right / len(rows[split])


def open_rows(run: Run, split: str) -> list[str]:
    return [row for row in (run.path / "split.csv").read_text().splitlines() if row.startswith(f"{split},")]


def test_labels_can_be_left_out(photos: Path, tmp_path: Path) -> None:
    run = convista.pretrain(photos, out=tmp_path / "ssl", epochs=1, labels=False, limit=20, **SMALL)
    assert run.info["splits"] == {"train": 20, "val": 0, "test": 0}
    assert "floors" not in run.info


def test_two_processes_have_the_losses_of_one(photos: Path) -> None:
    """With batch statistics, negatives and keys of both; in double precision, as rounding grows in training."""
    script = Path(__file__).with_name("contrastive_losses.py")
    alone = [sys.executable, str(script), str(photos), "resnet20"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    found = []
    for command in (alone, [*launch, *alone[1:]]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(list(map(float, done.stdout.split())))
    assert len(found[0]) == 4
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"temperature": 0}, "above 0"),
        ({"temperature": -0.5}, "above 0"),
        ({"temperature": math.nan}, "finite"),
        ({"batch": 1}, "at least 2"),
        ({"method": "moco", "queue": 100}, "at least a batch, 256"),
        ({"queue": 4096}, "moco has"),
        ({"momentum_encoder": 0.9}, "moco has"),
        ({"method": "moco", "momentum_encoder": 1.0}, "below 1"),
        ({"projection": 0}, "at least 1"),
        ({"schedule": "plateau"}, "no validation loss"),
        ({"mixup": 0.2}, "no option named 'mixup'"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SelfRecipe.of(**words)


def test_an_unknown_method_is_named_before_anything_heavy_is_loaded(convista: Call) -> None:
    with pytest.raises(UnknownNameError):
        SelfRecipe.of(method="byol")
    done = convista("pretrain", "nowhere", "--method", "byol")
    assert done.returncode == 2
    assert "Known: moco, simclr" in done.stderr
    assert "Traceback" not in done.stderr


def test_folders_without_pictures_to_learn_from_are_refused_and_nothing_is_left(flat: Path, tmp_path: Path) -> None:
    empty, one, texts = (tmp_path / name for name in ("empty", "one", "texts"))
    for folder in (empty, one, texts):
        folder.mkdir()
    shutil.copy(flat / "000.png", one)
    write_atomically(texts / "a.txt", "no picture")
    for folder, said in (
        (empty, "no pictures in"),
        (one, "one usable picture"),
        (texts, "one usable picture|no usable"),
    ):
        with pytest.raises(DataError, match=said):
            convista.pretrain(folder, out=tmp_path / "run", **SMALL)
        assert not (tmp_path / "run").exists()


def test_the_command_answers_in_one_object(flat: Path, convista: Call) -> None:
    words = ["--model", "lenet5", "--batch", 12, "--epochs", 1, "--method", "moco", "--json"]
    found = json_of(convista("pretrain", flat, *words, "--out", "run"))
    assert found["method"] == "moco"
    assert found["knn"] is None
    assert found["loss"] > 0


def test_one_that_diverged_is_recorded_and_says_what_to_do(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="less: --lr"):
        convista.pretrain(photos, out=tmp_path / "run", lr=1e30, epochs=4, clip=0.0, precision="fp32", **SMALL)
    assert Run.load(tmp_path / "run").diverged
    with pytest.raises(DivergedError, match="It diverged, and would again") as caught:
        convista.pretrain(resume=tmp_path / "run")
    assert "lr-find" not in str(caught.value)
