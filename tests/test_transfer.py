"""Features are computed once: the store survives what disks and users do, and what is learned on it is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convista.data import Pictures, open_source, prepare, read_policy
from convista.errors import UnknownNameError
from convista.records import View
from convista.transfer import FeatureStore, Trunk, Views, features_of, fingerprint, store_key

VIEW = View(24, 24, 3)
KILLS = 20 if os.environ.get("CONVISTA_TEST_ALL") else 4


def trunk(layer: str = "", **words: object) -> Trunk:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Trunk(nn.Sequential(net, nn.Linear(8, 5)), VIEW, torch.device("cpu"), layer, **words)  # type: ignore[arg-type]


def pictures(folder: Path) -> Pictures:
    return prepare(open_source(folder), 24, 3, 0, None).splits["train"]


def test_features_are_what_the_layer_is_given(photos: Path) -> None:
    part, stem = pictures(photos), trunk()
    found = features_of(stem, part, Views(), None)
    pixels = torch.from_numpy(np.stack([part[i] for i in range(len(part))])).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = stem.net[0](stem.normalise(pixels)).numpy()
    assert found.values.shape == (len(part), 1, 8)
    assert np.allclose(found.values[:, 0], expected, atol=2e-3)
    assert (found.computed, found.reused) == (len(part), 0)


def test_a_named_layer_gives_its_means_or_its_maps(photos: Path) -> None:
    part = pictures(photos)
    maps = features_of(trunk("0.2", maps=True), part, Views(), None).values
    means = features_of(trunk("0.2"), part, Views(), None).values
    assert maps.shape == (len(part), 1, 8, 11, 11)
    assert np.allclose(maps.astype(np.float32).mean((3, 4)), means, atol=2e-3)
    with pytest.raises(UnknownNameError, match=r"no layer named '0\.9'"):
        trunk("0.9")


def test_the_network_is_not_touched(photos: Path) -> None:
    stem = trunk()
    before = fingerprint(stem.net)
    features_of(stem, pictures(photos), Views(3, read_policy("light")), None)
    assert fingerprint(stem.net) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in stem.net.modules())


def test_what_is_kept_is_found_again_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    part, views = pictures(photos), Views(3, read_policy("strong"), 1)
    first = features_of(trunk(), part, views, tmp_path)
    again = features_of(trunk(), part, views, tmp_path)
    assert (again.computed, again.reused) == (0, 3 * len(part))
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values[:, 1], first.values[:, 2])
    more = features_of(trunk(), part, Views(4, read_policy("strong"), 1), tmp_path)
    assert more.computed == len(part)
    other = features_of(trunk(), part, Views(3, read_policy("light"), 1), tmp_path)
    assert (other.computed, other.reused) == (2 * len(part), len(part))  # the middles are every policy's
    stem = trunk()
    with torch.no_grad():
        stem.net[0][0].weight[0, 0, 0, 0] += 1
    assert features_of(stem, part, views, tmp_path).reused == 0


def test_a_changed_file_is_computed_anew_and_it_alone(photos: Path, tmp_path: Path) -> None:
    before = features_of(trunk(), pictures(photos), Views(2, read_policy("light")), tmp_path)
    part = pictures(photos)
    name = part.pictures[3].path
    other = np.asarray(part[4])
    from PIL import Image

    Image.fromarray(other[::-1].copy()).save(photos / name)
    after = features_of(trunk(), pictures(photos), Views(2, read_policy("light")), tmp_path)
    assert after.computed == 2
    assert len(before.values) == len(after.values)


def test_pictures_of_one_content_share_a_row(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "k", (3,))
    store.add(["a/0", "b/0"], np.ones((2, 3), np.float16))
    assert store.missing(["a/0", "b/0", "a/0", "c/0"]) == ["c/0"]
    assert store.read(["b/0", "a/0", "b/0"]).shape == (3, 3)


@pytest.mark.parametrize("row", [0, 2, 4])
def test_a_row_that_is_not_what_was_written_is_computed_anew(tmp_path: Path, row: int) -> None:
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    keys = [f"{i}/0" for i in range(5)]
    FeatureStore(tmp_path, "k", (7,)).add(keys, values)
    file = tmp_path / "k" / "rows.bin"
    damaged = bytearray(file.read_bytes())
    damaged[row * 14 + 5] ^= 0x10
    file.write_bytes(damaged)
    store = FeatureStore(tmp_path, "k", (7,))
    assert store.missing(keys) == [f"{row}/0"]
    store.add([f"{row}/0"], values[row : row + 1])
    for again in (store, FeatureStore(tmp_path, "k", (7,))):
        assert again.missing(keys) == []
        assert np.array_equal(again.read(keys), values)


@pytest.mark.parametrize("size", [0, 10, 41])
def test_a_file_cut_short_is_not_believed(tmp_path: Path, size: int) -> None:
    keys = [f"{i}/0" for i in range(5)]
    FeatureStore(tmp_path, "k", (7,)).add(keys, np.ones((5, 7), np.float16))
    with (tmp_path / "k" / "rows.bin").open("r+b") as file:
        file.truncate(size)
    store = FeatureStore(tmp_path, "k", (7,))
    assert store.missing(keys) == keys
    store.add(keys, np.full((5, 7), 2, np.float16))
    assert (store.read(keys) == 2).all()


def test_another_version_and_other_options_have_another_store() -> None:
    assert store_key(weights="a", layer="x") != store_key(weights="a", layer="y")
    assert store_key(weights="a") == store_key(weights="a")


def test_a_full_disk_costs_time_and_nothing_else(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = pictures(photos)
    expected = features_of(trunk(), part, Views(), None).values

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureStore, "add", full)
    found = features_of(trunk(), part, Views(), tmp_path)
    assert np.array_equal(found.values, expected)
    assert not found.kept


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = features_of(trunk(), pictures(photos), Views(), tmp_path / "file" / "below")
    assert not found.kept
    assert np.isfinite(found.values).all()


WRITER = """
import sys, numpy as np
from pathlib import Path
from convista.transfer import FeatureStore
store = FeatureStore(Path(sys.argv[1]), "k", (64,))
print("ready", flush=True)
for start in range(0, 4000, 5):
    keys = [f"{i}/0" for i in range(start, start + 5)]
    todo = store.missing(keys)
    if todo:
        numbers = np.array([int(key.split("/")[0]) for key in todo])
        store.add(todo, np.repeat(numbers[:, None] % 2048, 64, 1).astype(np.float16))
"""


def right(folder: Path) -> int:
    """How many rows are there; none of them may be wrong."""
    store = FeatureStore(folder, "k", (64,))
    keys = [key for key in store.file.entries if key not in store.missing(store.file.entries)]
    if keys:
        assert (store.read(keys)[:, 0] == [int(key.split("/")[0]) % 2048 for key in keys]).all()
    return len(keys)


def test_a_killed_writer_loses_no_more_than_its_last_rows(tmp_path: Path) -> None:
    rng, before = np.random.default_rng(1), 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(rng.uniform(0.01, 0.3))
            writer.send_signal(signal.SIGKILL)
        assert right(tmp_path) >= before
        before = right(tmp_path)
    assert before > 0


def test_two_writers_at_once_share_and_spoil_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert right(tmp_path) == 4000
    assert len((tmp_path / "k" / "index.jsonl").read_bytes().splitlines()) < 4400  # hardly anything twice
