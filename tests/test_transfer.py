"""Features are computed once: the store survives what disks and users do, and what is learned on it is right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convista
from convista.data import Pictures, RowFile, open_source, prepare, read_policy
from convista.errors import InputError, UnknownNameError
from convista.records import View
from convista.transfer import FeatureStore, Trunk, Views, features_of, fingerprint, store_key
from convista.transfer.trunk import check_head

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


def test_a_row_does_not_depend_on_who_is_beside_it(photos: Path) -> None:
    """Layers add up in another order when a batch has another size, so that all have one."""
    part, stem, sizes = pictures(photos), trunk(), []
    stem.net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    whole = features_of(stem, part, Views(), None).values
    few = np.array([4, 17])
    chosen = tuple(part.pictures[i] for i in few)
    some = features_of(
        stem, replace(part, pictures=chosen, targets=part.targets[few], rows=part.rows[few]), Views(), None
    )
    assert some.values.tobytes() == whole[few].tobytes()
    assert set(sizes) == {1, 32}  # one to learn the shape


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
    Image.fromarray(other[::-1].copy()).save(photos / name)
    after = features_of(trunk(), pictures(photos), Views(2, read_policy("light")), tmp_path)
    assert after.computed == 2
    assert len(before.values) == len(after.values)


def test_pictures_of_one_content_share_a_row(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "k", (3,))
    store.add(["a/0", "b/0"], np.ones((2, 3), np.float16))
    assert store.missing(["a/0", "b/0", "a/0", "c/0"]) == ["c/0"]
    assert store.read(["b/0", "a/0", "b/0"])[0].shape == (3, 3)


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
        assert np.array_equal(again.read(keys)[0], values)


def test_rows_of_a_store_that_was_taken_away_are_not_anothers(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "k", (4,))
    store.add(["x/0", "y/0"], np.array([[1] * 4, [2] * 4], np.float16))
    assert not store.missing(["y/0"])
    shutil.rmtree(tmp_path / "k")
    assert not store.read(["x/0", "y/0"])[1].any()
    shutil.rmtree(tmp_path / "k")
    FeatureStore(tmp_path, "k", (4,)).add(["z/0", "x/0"], np.array([[9] * 4, [1] * 4], np.float16))
    values, there = store.read(["x/0", "y/0", "z/0"])
    assert there.tolist() == [True, False, True]
    assert values[there][:, 0].tolist() == [1, 9]


def test_a_store_in_use_does_not_make_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convista.transfer.store.LIMIT", 2000)
    rows = np.ones((4, 100), np.float16)
    busy, idle = FeatureStore(tmp_path, "busy", (100,)), FeatureStore(tmp_path, "idle", (100,))
    idle.add(list("abcd"), rows)
    for age, name in ((9000, "busy"), (100, "idle")):  # opened long ago
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    busy.add(list("abcd"), rows)
    FeatureStore(tmp_path, "new", (100,)).add(list("abcd"), rows)
    assert busy.read(list("abcd"))[1].all()
    assert not (tmp_path / "idle").exists()


def test_what_is_no_number_is_not_kept(photos: Path, tmp_path: Path) -> None:
    broken = trunk()
    with torch.no_grad():
        broken.net[0][0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        features_of(broken, pictures(photos), Views(), tmp_path)
    assert not list(tmp_path.glob("*/rows.bin"))


@pytest.mark.parametrize("size", [0, 10, 41])
def test_of_a_file_cut_short_what_is_whole_is_left(tmp_path: Path, size: int) -> None:
    keys = [f"{i}/0" for i in range(5)]
    FeatureStore(tmp_path, "k", (7,)).add(keys, np.ones((5, 7), np.float16))
    with (tmp_path / "k" / "rows.bin").open("r+b") as file:
        file.truncate(size)
    store = FeatureStore(tmp_path, "k", (7,))
    assert store.missing(keys) == keys[size // 14 :]
    store.add(store.missing(keys), np.full((5 - size // 14, 7), 2, np.float16))
    for again in (store, FeatureStore(tmp_path, "k", (7,))):
        assert again.missing(keys) == []
        assert again.read(keys)[0][:, 0].tolist() == [1] * (size // 14) + [2] * (5 - size // 14)


def test_a_store_that_cannot_be_read_just_now_is_left_as_it_is(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = pictures(photos)
    expected = features_of(trunk(), part, Views(), tmp_path)

    def busy(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(RowFile, "_read_index", busy)
        found = features_of(trunk(), part, Views(), tmp_path)
        assert not found.kept
    again = features_of(trunk(), part, Views(), tmp_path)
    assert again.reused == len(part)
    assert np.array_equal(again.values, found.values)
    assert np.array_equal(again.values, expected.values)


class Recurrent(nn.Module):
    """Gives two arrays."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Pooled(nn.Module):
    """One's own layer, which says nothing of its settings."""

    def __init__(self, kind: str, width: int = 3):
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.ones(width, dtype=torch.bfloat16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale if self.kind == "max" else x


class Renamed(Pooled):
    """The same weights, another `forward`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale


def test_a_network_is_known_by_settings_and_code_too() -> None:
    found = fingerprint(nn.Sequential(Pooled("max"), nn.Linear(3, 2)))
    torch.manual_seed(0)
    nets = [nn.Sequential(Pooled("max")), nn.Sequential(Pooled("avg")), nn.Sequential(Renamed("max"))]
    assert len({found, *(fingerprint(net) for net in nets)}) == 4
    assert fingerprint(nets[0]) == fingerprint(nn.Sequential(Pooled("max")))
    Renamed.__name__ = "Pooled"
    assert fingerprint(nets[0]) != fingerprint(nets[2])  # the text of the class tells


def test_a_layer_that_gives_no_single_array_is_refused(photos: Path) -> None:
    net = nn.Sequential(nn.Flatten(2), Recurrent(), nn.Linear(4, 2))
    with pytest.raises(InputError, match="The layer '1' gives a tuple"):
        features_of(Trunk(net, VIEW, torch.device("cpu"), "1"), pictures(photos), Views(), None)


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


def test_who_has_no_room_for_features_hears_so(
    photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("convista.transfer.store.LIMIT", 1 << 10)
    said: list[str] = []
    found = convista.features(weights, photos, console=convista.Console(said.append))
    assert np.isfinite(found.features).all()
    assert any("no room for all features" in text for text in said)


def test_the_store_that_was_not_used_for_longest_makes_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convista.transfer.store.LIMIT", 2000)
    rows, keys = np.arange(500, dtype=np.float16).reshape(5, 100), list("abcde")  # 1,000 bytes and their index
    for age, name in ((300, "old"), (200, "newer")):
        FeatureStore(tmp_path, name, (100,)).add(keys[:3], rows[:3])
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / "unrelated").mkdir()
    now = FeatureStore(tmp_path, "now", (100,))
    now.add(keys[:5], rows[:5])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["newer", "now", "unrelated"]
    assert FeatureStore(tmp_path, "newer", (100,)).missing(keys[:3]) == []
    with pytest.raises(OSError, match="no room for more features"):
        now.add([f"{i}" for i in range(20)], np.zeros((20, 100), np.float16))
    assert len(now.names()) == 10  # as many as there is room for
    assert np.array_equal(now.read(keys)[0], rows)


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
        assert (store.read(keys)[0][:, 0] == [int(key.split("/")[0]) % 2048 for key in keys]).all()
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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that has seen digits."""
    folder = tmp_path_factory.mktemp("pretrained")
    convista.train("digits", model="resnet20", channels=3, image=32, epochs=1, limit=400, out=folder / "run")
    return folder / "run"


def test_a_head_on_features_is_the_network_s_own_answer(photos: Path, weights: Path, tmp_path: Path) -> None:
    run = convista.train(photos, from_=weights, epochs=3, out=tmp_path / "run")
    assert run.info["plan"] == ["probe", "head"]
    assert run.info["features"]["computed"] > 0
    assert run.test.top1 > run.test.floor["top1"]
    assert convista.eval(run).top1 == run.test.top1
    assert convista.eval(run).loss == pytest.approx(run.test.loss, abs=0.02)
    assert len(run.predict(sorted(photos.rglob("*.*"))[:3]).predictions) == 3
    assert (run.path / "report.html").exists()
    trunk = {name: value for name, value in run.net.state_dict().items() if not name.startswith("head")}
    before = convista.Run.load(weights).net.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in trunk.items())


def test_the_second_time_nothing_is_computed_and_the_same_comes_out(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    first = convista.train(photos, from_=weights, epochs=2, out=tmp_path / "a")
    again = convista.train(photos, from_=weights, epochs=2, out=tmp_path / "b")
    assert again.info["features"]["computed"] == 0
    assert (first.path / "model.safetensors").read_bytes() == (again.path / "model.safetensors").read_bytes()
    assert first.test == again.test


def test_a_run_that_was_stopped_before_its_head_goes_on(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convista.transfer import learn

    whole = convista.train(photos, from_=weights, epochs=2, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(learn, "_head", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            convista.train(photos, from_=weights, epochs=2, out=tmp_path / "run")
    run = convista.train(resume=tmp_path / "run")
    assert run.done
    assert run.test == whole.test


def test_a_file_of_weights_begins_a_run_as_well(photos: Path, weights: Path, tmp_path: Path) -> None:
    run = convista.train(
        photos, from_="resnet20", weights=weights / "model.safetensors", epochs=1, out=tmp_path / "run"
    )
    assert run.info["from"]["source"] == "resnet20"
    assert run.done


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"from_": "resnet20x"}, "no network named"),
        ({"from_": "resnet20", "weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"from_": "resnet20", "weights": "w", "model": "vgg11"}, "beside --from"),
        ({"from_": "resnet20", "weights": "w", "epoch": 3}, "Did you mean epochs"),
        ({"from_": "timm:resnet18"}, "--weights FILE"),
        ({"from_": "resnet20"}, "--from resnet20 --weights FILE"),
        ({"weights": "w.safetensors"}, "--from"),
    ],
)
def test_wrong_beginnings_are_refused_and_leave_nothing(
    words: dict[str, Any], said: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(convista.ConvistaError, match=said):
        convista.train(photos, out=tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", ["f", "f.npz"])
def test_features_come_as_a_file(photos: Path, weights: Path, tmp_path: Path, out: str) -> None:
    found = convista.features(weights, photos, out=tmp_path / out)
    with np.load(tmp_path / (out if out.endswith("z") else "f/features.npz")) as table:
        assert table["features"].shape == (len(found.paths), 64)
        assert set(table["labels"]) == {"blue", "green", "red"} or len(set(table["labels"])) > 1
        assert table["paths"].tolist() == list(found.paths)


def test_copies_in_a_folder_do_not_make_the_probe_sure(weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(60):
        noise = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        for copy in range(3):
            place = tmp_path / "data" / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            noise.save(place / f"{i}-{copy}.png")
    said: list[str] = []
    convista.train(tmp_path / "data", from_=weights, out=tmp_path / "run", console=convista.Console(said.append))
    (line,) = [text for text in said if text.startswith("probe: cross-validated")]
    assert float(line.split()[3]) < 0.75


def test_maps_of_what_has_none_are_refused(photos: Path, weights: Path) -> None:
    with pytest.raises(InputError, match="what the classifier is given is a vector"):
        convista.features(weights, photos, maps=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"from_": 123}, "from_=123 was given; expected a network's name or a run folder"),
        ({"from_": "lenet5", "weights": "RUN"}, "is a folder; a run is named by itself: --from "),
        ({"from_": "lenet5", "weights": "."}, "is a folder; expected a file of weights"),
        ({"from_": "FILE"}, "is a file: name its network, too: --from NETWORK --weights "),
        ({"form_": "lenet5"}, "Did you mean from_"),
        ({"from": "lenet5", "weights": "x"}, "Did you mean from_"),
        ({"from_": "lenet5", "wieghts": "x"}, "Did you mean weights"),
    ],
)
def test_slips_around_weights_are_told(words: dict[str, Any], said: str, photos: Path, weights: Path) -> None:
    places = {"RUN": str(weights), "FILE": str(weights / "model.safetensors")}
    with pytest.raises(InputError, match=said):
        convista.train(photos, **{word: places.get(value, value) for word, value in words.items()})


def test_networks_to_pick_from_come_one_after_another(photos: Path, weights: Path) -> None:
    with pytest.raises(InputError, match="expected names and run folders, one after another"):
        convista.pick([weights], from_data=photos)  # type: ignore[arg-type]


def test_features_need_no_classes(photos: Path, weights: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(photos.rglob("*.*"))[:5]):
        (flat / f"{i}{path.suffix}").write_bytes(path.read_bytes())
    found = convista.features(weights, flat)
    assert set(found.labels) == {""}
    with pytest.raises(InputError, match="precision=fp16"):
        convista.features(weights, flat, precision="fp16")


def test_the_command_says_what_was_computed(photos: Path, weights: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from convista.cli.app import app

    result = CliRunner().invoke(app, ["features", str(weights), str(photos), "--json", "--out", str(tmp_path / "f")])
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["shape"][1:] == [64]


def test_the_command_tells_of_plan_and_features(photos: Path, weights: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from convista.cli.app import app

    words = ["train", str(photos), "--from", str(weights), "--epochs", "2", "--out", str(tmp_path / "run"), "--json"]
    told = json.loads(CliRunner().invoke(app, words).stdout)
    assert told["plan"] == ["probe", "head"]
    assert set(told["features"]) == {"computed", "reused", "seconds"}
    assert told["head_seconds"] > 0
    swept = CliRunner().invoke(
        app, ["train", str(photos), "--from", str(weights), "--sweep", "seed=0..1", "--out", str(tmp_path / "s")]
    )
    assert swept.exit_code == 0


def test_features_go_where_a_file_is_in_the_way_with_one_message(photos: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(convista.ConvistaError, match="f"):
        convista.features(weights, photos, out=tmp_path / "f")


class Unusual(nn.Module):
    """A classifier that is not the end, has no bias, or does not say the classes."""

    def __init__(self, how: str):
        super().__init__()
        self.how = how
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5, bias=how != "no bias")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.fc(self.conv(x).mean((2, 3)))
        return {"goes on": answer.relu(), "not told": answer[:, :2]}.get(self.how, answer)


@pytest.mark.parametrize("how", ["goes on", "not told", "no bias"])
def test_a_network_whose_end_is_no_linear_layer_takes_no_head(how: str) -> None:
    check_head(Unusual("usual"), 3, 8, "mine")
    with pytest.raises(InputError, match=how):
        check_head(Unusual(how), 3, 8, "mine")


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v2", "googlenet", "densenet121", "vgg11"])
def test_networks_take_a_head(name: str) -> None:
    net = convista.create(name, classes=4)
    check_head(net, net.spec.channels, net.spec.image, name)


def test_one_whose_last_layer_is_its_own_takes_none(tmp_path: Path) -> None:
    words: dict[str, Any] = {"model": "lenet5_sparse", "epochs": 1, "limit": 60}
    convista.train("digits", out=tmp_path / "base", **words)
    for job in (
        lambda: convista.train("digits", from_=tmp_path / "base", out=tmp_path / "run"),
        lambda: convista.pretrain("digits", batch=20, out=tmp_path / "run", **words),
    ):
        with pytest.raises(InputError, match="lenet5_sparse"):
            job()
        assert not (tmp_path / "run").exists()


def test_values_beyond_sixteen_bits_are_refused(photos: Path) -> None:
    loud = trunk()
    with torch.no_grad():
        for parameter in loud.net.parameters():
            parameter.mul_(1e3)
    with pytest.raises(InputError, match="16 bits"):
        features_of(loud, pictures(photos), Views(), None)


def test_a_run_of_another_library_s_network_can_be_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(
        "from torch import nn\n"
        "def net(classes):\n"
        "    front = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*front, nn.Linear(4, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words: dict[str, Any] = {"epochs": 1, "limit": 60}
    convista.train("digits", model="theirs:net", image=16, out="base", **words)
    run = convista.train("digits", from_="base", unfreeze="none", out="run", **words)
    assert run.done
    assert convista.Run.load("run").test == run.test


def test_networks_that_differ_in_their_heads_share_what_is_kept(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one = convista.create("resnet20", classes=3)
    other = convista.create("resnet20", classes=5)
    state = {name: value for name, value in one.state_dict().items() if not name.startswith("head")}
    other.load_state_dict(state, strict=False)
    part, view = pictures(photos), trunk().view
    found = [features_of(Trunk(net, view, torch.device("cpu")), part, Views(), tmp_path) for net in (one, other)]
    assert [each.computed for each in found] == [len(part), 0]
    assert np.array_equal(found[0].values, found[1].values)


@pytest.mark.parametrize("name", ["f.csv", "f.npy", "nowhere/f.npz"])
def test_features_go_nowhere_else(photos: Path, tmp_path: Path, name: str) -> None:
    from typer.testing import CliRunner

    from convista.cli.app import app

    done = CliRunner().invoke(app, ["features", "resnet20", str(photos), "--out", str(tmp_path / name)])
    assert isinstance(done.exception, InputError)
    assert not (tmp_path / name).exists()


def test_a_map_by_a_network_that_tells_little_apart_says_so(photos: Path, tmp_path: Path) -> None:
    convista.train(photos, model="resnet20", epochs=1, image=16, out=tmp_path / "run", limit=20)
    found = convista.map(tmp_path / "run", photos, method="pca", out=None)
    assert any("learned the classes of" in said for said in found.left_out)
    near = found.retrieval.scores["recall@1"]
    assert any("apart poorly" in said for said in found.left_out) == (near < 0.75)
