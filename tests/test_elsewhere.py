"""Features that other processes compute: the rows of the single pass, none lost and none twice, whatever dies."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_shards import samples, write_shard, write_shards
from torch import nn

import convista
from conftest import make_photos
from convista.data import user_cache
from convista.errors import DataError, InputError, RunError
from convista.feature_recipes import FeatureRecipe
from convista.records import View
from convista.training import Console
from convista.transfer import FeatureTable, Views, onray
from convista.transfer.gather import Arrivals, gathered_table
from convista.transfer.parts import Errand, Part, Slice, packed, work
from convista.transfer.pretrained import Pretrained, pretrained

COUNT = 108  # pictures


class Here:
    """A cluster in this process: what is sent is pickled, slices are done in a strange order, and some twice."""

    device = "cpu"

    def __init__(self, workers: int = 2, twice: bool = False, stop_after: int = 10**9):
        self.workers, self.twice, self.left = workers, twice, stop_after
        self.sent: list[Slice] = []
        self.rows = 0

    def precision(self) -> str:
        return "fp32"

    def run(self, errand: Errand, todo: deque[Slice]) -> Arrivals:
        theirs: Errand = pickle.loads(pickle.dumps(errand))
        while todo:
            part = todo.pop() if len(self.sent) % 2 else todo.popleft()
            self.sent.append(part)
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            done: Part = pickle.loads(pickle.dumps(work(theirs, theirs.trunk(), pickle.loads(pickle.dumps(part)))))
            self.rows += len(done.places)
            yield None
            yield part, done
            if self.twice:
                yield part, done


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards, in the first of which one picture is torn and one copied."""
    root = tmp_path_factory.mktemp("elsewhere")
    shards = write_shards(make_photos(root / "photos", each=COUNT // 3), root / "shards")
    members = samples(root / "photos")
    odd = [("z1.png", members[0][1][:40]), ("z1.cls", b"red"), ("z2.png", members[2][1]), ("z2.cls", members[3][1])]
    write_shard(shards / "train-003.tar", odd)
    return shards


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    words = {"model": "lenet5", "epochs": 1, "batch": 16, "precision": "fp32"}
    return convista.train(data.parent / "photos", out=data.parent / "run", **words).path


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def spread(run: Path, data: Path, cluster: Any, **words: Any) -> FeatureTable:
    return gathered_table(pretrained(str(run)), str(data), FeatureRecipe.of(**words), cluster, Console())


def alone(run: Path, data: Path, tmp_path: Path, **words: Any) -> FeatureTable:
    """The single pass, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "alone"))
        return convista.features(run, data, **words)


def same(one: FeatureTable, other: FeatureTable) -> bool:
    assert (one.paths, one.labels, sorted(one.bad, key=str)) == (other.paths, other.labels, sorted(other.bad, key=str))
    return one.features.tobytes() == other.features.tobytes()


def kept() -> list[str]:
    """What rows there are on disk, as they were written."""
    files = (user_cache() / "features").glob("*/index.jsonl")
    return [json.loads(line)[0] for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize("views", [1, 3])
def test_parts_make_the_table_of_the_single_pass_to_the_byte(run: Path, data: Path, tmp_path: Path, views: int) -> None:
    words = {"views": views, "augment": "light"}
    found = spread(run, data, cluster := Here(twice=True), **words)
    assert same(found, alone(run, data, tmp_path, **words))
    assert len(found.paths) == COUNT + 1
    assert [bad.path for bad in found.bad] == ["train-003.tar/z1.png"]
    assert len(cluster.sent) > 3
    assert len(kept()) == len(set(kept())) == COUNT * views


def test_slices_lie_in_one_shard_or_two_and_say_only_where_their_pictures_are(run: Path, data: Path) -> None:
    spread(run, data, cluster := Here())
    for part in cluster.sent:
        assert len({path.partition("/")[0] for path in (entry.path for entry in part.entries)}) <= 2
        assert len(pickle.dumps(part)) < 200 * len(part.entries) + 1000
    assert sorted(number for part in cluster.sent for number in part.numbers) == list(range(COUNT + 2))


def test_what_is_kept_is_not_computed_again(run: Path, data: Path, tmp_path: Path) -> None:
    convista.features(run, data)
    again = spread(run, data, cluster := Here())
    assert (cluster.rows, again.computed, again.reused) == (0, 0, COUNT + 1)
    more = spread(run, data, cluster := Here(), views=3, augment="light")
    assert cluster.rows == more.computed + 2 == 2 * (COUNT + 1)  # the copy is in a slice of its own
    assert same(more, alone(run, data, tmp_path, views=3, augment="light"))


def test_a_pass_that_died_is_gone_on_with(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        spread(run, data, Here(stop_after=2))
    before = len(kept())
    assert 0 < before < COUNT
    found = spread(run, data, Here())
    assert found.computed == COUNT - before
    assert len(kept()) == len(set(kept())) == COUNT
    assert same(found, alone(run, data, tmp_path))


def test_rows_that_are_lost_meanwhile_are_asked_for_again(run: Path, data: Path, tmp_path: Path) -> None:
    convista.features(run, data)

    class Loses(Here):
        def run(self, errand: Errand, todo: deque[Slice]) -> Arrivals:
            for folder in (user_cache() / "features").iterdir():
                if folder.is_dir():
                    shutil.rmtree(folder)
            yield from super().run(errand, todo)

    found = spread(run, data, cluster := Loses())
    assert any(part.anew for part in cluster.sent)
    assert len(kept()) == len(set(kept())) == COUNT
    assert same(found, alone(run, data, tmp_path))


def test_rows_of_more_views_are_never_taken_for_others() -> None:
    """Names of views 1 and 12 begin alike."""
    keys = ["a" * 32 + "/12", "b" * 32 + "/0", "b" * 32 + "/1"]
    errand = Errand(nn.Identity(), View(8, 8, 3), Views(2), "", False, "fp32", "cpu", packed(keys, 2))
    assert errand.lacking("a" * 32) == [0, 1]
    assert errand.lacking("b" * 32) == []
    assert replace(errand, kept=packed([], 2)).lacking("b" * 32) == [0, 1]


def test_data_that_a_worker_cannot_reach_end_the_pass_with_one_message(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data.parent / "photos", tmp_path / "photos")

    class Far(Here):
        def run(self, errand: Errand, todo: deque[Slice]) -> Arrivals:
            (tmp_path / "photos").rename(tmp_path / "elsewhere")
            return super().run(errand, todo)

    with pytest.raises(DataError, match="photos does not exist"):
        spread(run, tmp_path / "photos", Far())


def test_where_no_picture_is_usable_it_is_said(run: Path, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", [("a.png", b"no"), ("a.cls", b"1")])
    with pytest.raises(DataError, match=r"no usable picture in 's' \(1 files are none\)"):
        spread(run, shard, Here())


def test_a_login_is_not_sent_to_workers() -> None:
    shards = importlib.import_module("convista.data.shards")
    moved = shards.Shard("https://ann:secret@host/a.tar", "a.tar", None).elsewhere()
    assert b"secret" not in pickle.dumps(moved)
    assert moved.address == "https://host/a.tar"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"layr": "c5"}, "Did you mean layer"),
        ({"tasks": 0}, "tasks=0 was given"),
        ({"tasks": True}, "tasks=True was given"),
        ({"data": ["a"]}, "A list was given as data"),
        ({}, r"convista\[scale\]"),
    ],
)
def test_wrong_words_are_refused_before_ray_is_looked_for(
    words: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=said):
        convista.ray_features(**{"model": "lenet5", "data": "digits"} | words)


class Deadly(nn.Module):
    """Takes its worker with it where it meets the mark, and the mark too, so that this happens once."""

    def __init__(self, mark: Path, stays: bool = False):
        super().__init__()
        self.mark, self.stays, self.asker = mark, stays, os.getpid()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.asker and self.mark.exists():
            if not self.stays:
                self.mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        answer: torch.Tensor = self.head(self.layers(pictures))
        return answer


def deadly(mark: Path, stays: bool = False) -> Pretrained:
    torch.manual_seed(0)
    return Pretrained(Deadly(mark, stays), View(24, 24, 3), "deadly", "", None)


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of two processors on this machine."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning")
        importlib.import_module("ray.cloudpickle").register_pickle_by_value(sys.modules[__name__])
        yield ray
        ray.shutdown()


ON_RAY = pytest.mark.filterwarnings("ignore")  # Ray's own


@ON_RAY
def test_ray_makes_the_table_of_the_single_pass_to_the_byte_and_the_second_call_nothing(
    ray: Any, run: Path, data: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    console = Console(reading=lambda what, done, total: told.append((done, total)))
    found = convista.ray_features(run, data, views=2, augment="light", out=tmp_path / "f.npz", console=console)
    assert same(found, alone(run, data, tmp_path, views=2, augment="light"))
    assert told == sorted(told)
    assert told[-1] == (COUNT + 2, COUNT + 2)
    assert (tmp_path / "f.npz").exists()
    again = convista.ray_features(run, data, views=2, augment="light", tasks=1)
    assert again.computed == 0
    assert same(again, found)
    assert len(kept()) == len(set(kept())) == 2 * COUNT


@ON_RAY
def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(ray: Any, data: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    found = gathered_table(deadly(mark), str(data), FeatureRecipe(), onray.RayWorkers(), Console())
    assert not mark.exists()
    assert len(kept()) == len(set(kept())) == COUNT
    shutil.rmtree(user_cache() / "features")
    assert same(found, gathered_table(deadly(mark), str(data), FeatureRecipe(), Here(), Console()))


@ON_RAY
def test_pictures_that_kill_every_worker_are_named(
    ray: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onray, "TRIES", 1)
    (tmp_path / "mark").touch()
    shard, net = str(data / "train-003.tar"), deadly(tmp_path / "mark", True)
    with pytest.raises(RunError, match=r"died 2 times on train-003.tar/z1.png to .* What was computed is kept"):
        gathered_table(net, shard, FeatureRecipe(), onray.RayWorkers(), Console())


@ON_RAY
def test_a_cluster_that_has_lost_all_its_machines_is_told_of(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = onray.RayWorkers()
    workers.ray = SimpleNamespace(cluster_resources=dict)
    workers._check_cluster()
    monkeypatch.setattr(onray, "PATIENCE", 0.0)
    with pytest.raises(RunError, match="no machine to work on for 0 s"):
        workers._check_cluster()


@ON_RAY
def test_a_process_that_was_killed_while_it_asked_is_gone_on_with(
    ray: Any, run: Path, data: Path, tmp_path: Path
) -> None:
    words = "views=8, augment='strong', tasks=1"
    code = f"import convista; convista.ray_features({str(run)!r}, {str(data)!r}, {words})"
    address = ray.get_runtime_context().gcs_address
    asks = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=os.environ | {"RAY_ADDRESS": address})
    deadline = time.monotonic() + 60
    while not kept() and asks.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    asks.kill()
    asks.wait()
    before = len(kept())
    assert 0 < before < 8 * COUNT
    found = convista.ray_features(run, data, views=8, augment="strong")
    assert found.computed == 8 * COUNT - before
    assert len(kept()) == len(set(kept())) == 8 * COUNT
    assert same(found, alone(run, data, tmp_path, views=8, augment="strong"))


@ON_RAY
def test_a_gpu_that_no_machine_of_the_cluster_has_is_refused(ray: Any, run: Path, data: Path) -> None:
    if ray.cluster_resources().get("GPU"):
        pytest.skip("there is one")
    with pytest.raises(RunError, match="no machine of the Ray cluster has a GPU"):
        convista.ray_features(run, data, device="cuda")
