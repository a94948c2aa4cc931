"""`neighbours` and `map`: what looks alike is found, pages open offline, and wrong input ends in one message."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from test_neighbours import data_of, offline
from typer.testing import CliRunner

import convista
from conftest import make_photos, picture
from convista.cli.app import app
from convista.errors import InputError
from convista.feature_recipes import FeatureRecipe, MapRecipe
from convista.reports import found_page, overview_page
from convista.transfer import Overview, Trunk, lookup, usual_threshold
from convista.transfer import overview as overviews


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three easy classes in train and val, with a wrong label and a text file."""
    root = tmp_path_factory.mktemp("data") / "photos"
    make_photos(root / "train")
    for hue, label in enumerate(("red", "green", "blue")):
        (root / "val" / label).mkdir(parents=True)
        for i in range(3):
            picture(hue, 5000 + 10 * hue + i).save(root / "val" / label / f"v{i}.png")
    picture(1, 7000).save(root / "train" / "blue" / "wrong.png")
    (root / "train" / "blue" / "notes.txt").write_text("no picture")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A network that has seen the pictures."""
    out = tmp_path_factory.mktemp("runs") / "run"
    convista.train(data, model="lenet5", channels=3, epochs=3, batch=8, lr=3e-3, augment="none", out=out)
    return out


@pytest.fixture(scope="module")
def overview(run: Path) -> Overview:
    return convista.map(run, method="pca")


def call(*words: object) -> Any:
    """The command's result, in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result: Any) -> str:
    assert isinstance(result.exception, InputError), result.output
    assert result.exception.exit_code == 2
    return str(result.exception)


def test_a_run_and_a_picture_are_enough(run: Path, data: Path, tmp_path: Path) -> None:
    picture(2, 9000).save(tmp_path / "query.png")
    page = tmp_path / "n.html"
    result = call("neighbours", run, tmp_path / "query.png", "--top", 4, "--out", page, "--json")
    told = json.loads(result.stdout)
    assert told["out"] == str(page)
    assert told["pictures"] == 46
    (query,) = told["queries"]
    assert query["label"] is None
    assert {it["label"] for it in query["neighbours"]} == {"blue"}
    distances = [it["distance"] for it in query["neighbours"]]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert (data / query["neighbours"][0]["path"]).is_file()
    assert "notes.txt: not a picture" in result.stderr
    offline(page.read_text())


def test_a_query_among_the_pictures_is_at_zero_from_itself_and_marked(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "train/green/000.jpg", tmp_path / "renamed.jpg")
    for metric in ("cosine", "l2"):
        found = convista.neighbours(run, tmp_path / "renamed.jpg", top=5, metric=metric)
        first, *others = found.queries[0].neighbours
        assert (first.distance, first.same, first.path) == (0, True, "train/green/000.jpg")
        assert not any(it.same for it in others)
        assert found.queries[0].label == "green"
    page = found_page(found)
    assert page.count("= the query") == 1
    assert "does not count" in page
    assert "(the same picture)" in str(found)


def test_neighbours_are_those_of_the_features(run: Path, data: Path) -> None:
    table = convista.features(run, data)
    values = table.features.reshape(len(table.paths), -1).astype(np.float64)
    found = convista.neighbours(run, data / "val" / "blue", top=3, metric="l2")
    assert [Path(query.path).name for query in found.queries] == ["v0.png", "v1.png", "v2.png"]
    for query in found.queries:
        own = values[table.paths.index(f"val/blue/{Path(query.path).name}")]
        far = np.sqrt(np.square(values - own).sum(1))
        assert [it.distance for it in query.neighbours] == pytest.approx(np.sort(far)[:3])


def test_a_folder_of_queries_called_like_a_class_is_of_it(run: Path, tmp_path: Path) -> None:
    for label in ("red", "new"):
        (tmp_path / label).mkdir()
        picture(0, 9100).save(tmp_path / label / "a.png")
    found = convista.neighbours(run, [tmp_path / "red", tmp_path / "new" / "a.png"], top=2)
    assert [query.label for query in found.queries] == ["red", None]


def test_a_picture_of_pillow_is_a_query_and_fewer_pictures_than_asked_for_are_all_but_one(
    run: Path, tmp_path: Path
) -> None:
    for i in range(4):
        picture(i, i).save(tmp_path / f"{i}.png")
    found = convista.neighbours(run, picture(1, 0), data=tmp_path, top=50)
    assert len(found.queries[0].neighbours) == 3
    assert found.queries[0].neighbours[0].label is None  # no folder says one
    assert "floor" not in found_page(found)


def test_features_are_computed_once_for_all_verbs(run: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convista.features(run, data)
    seen: list[int] = []
    plain = Trunk.__call__

    def counted(self: Trunk, pictures: Any) -> Any:
        seen.append(len(pictures))
        return plain(self, pictures)

    monkeypatch.setattr(Trunk, "__call__", counted)
    convista.neighbours(run, data / "train/red/000.jpg")
    convista.map(run, method="pca")
    assert set(seen) == {1}  # the blank picture that tells how long features are


def test_the_map_places_every_picture_and_knows_its_class_and_split(overview: Overview, run: Path) -> None:
    assert overview.points.shape == (46, 2)
    assert overview.classes == {"blue": 16, "green": 15, "red": 15}
    known = convista.Run.load(run).splits
    assert list(overview.splits) == [known.get(picture.digest) for picture in overview.seen.pictures.pictures]
    assert {"train", "val", "test"} == set(overview.splits)
    assert overview.retrieval is not None
    assert overview.retrieval.scores["recall@1"] > overview.retrieval.floor["recall@1"]
    assert [file.path for file in overview.bad] == ["train/blue/notes.txt"]


def blocks(seed: int) -> Image.Image:
    """A pattern that no other seed has."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(colours).resize((32, 32), Image.Resampling.NEAREST)


def test_near_duplicates_across_splits_and_under_two_names_stand_first(run: Path, tmp_path: Path) -> None:
    for i in range(24):
        path = tmp_path / ("train", "val")[i % 2] / ("a", "b")[i // 2 % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks(i).save(path)
    brighter = [ImageEnhance.Brightness(blocks(i)).enhance(1.02) for i in range(3)]
    for image, name in zip(brighter, ("train/a/same.png", "val/b/renamed.png", "val/a/leak.png"), strict=True):
        image.save(tmp_path / name)
    found = convista.map(run, tmp_path, method="pca")
    told = [({found.seen.paths[row] for row in group.rows}, group.splits, group.labels) for group in found.groups]
    expected = [
        ({"train/b/2.png", "val/a/leak.png"}, ("train", "val"), ("a", "b")),
        ({"val/a/1.png", "val/b/renamed.png"}, ("val",), ("a", "b")),
        ({"train/a/0.png", "train/a/same.png"}, ("train",), ("a",)),
    ]
    assert told[0] == expected[0]
    assert all(group in told for group in expected)
    kinds = [(len(splits) < 2, len(labels) < 2) for _, splits, labels in told]
    assert kinds == sorted(kinds)
    page = overview_page(found)
    assert ">in train, val<" in page
    assert page.count(">called a, b<") >= 2


def test_a_wrong_label_is_found(overview: Overview) -> None:
    first = overview.doubts[0]
    assert overview.seen.paths[first.row] == "train/blue/wrong.png"
    assert (first.label, first.guess) == ("blue", "green")
    assert first.probability < 0.05 < first.confidence


def test_the_page_of_a_map_is_whole_and_offline(overview: Overview) -> None:
    page = overview_page(overview)
    reader = offline(page)
    assert data_of(page)["classes"] == ["blue", "green", "red"]
    for said in ("Near-duplicates", "Probably in the wrong class", "Classes", "floor", "notes.txt: not a picture"):
        assert said in reader.text
    assert "wrong.png" in reader.text


def test_pictures_without_classes_have_a_map_and_it_says_what_is_left_out(run: Path, tmp_path: Path) -> None:
    for i in range(6):
        picture(i, i).save(tmp_path / f"{i}.png")
    found = convista.map(run, tmp_path)
    assert (found.retrieval, found.doubts, found.classes) == (None, (), {})
    assert "No folder says a class" in str(found)
    reader = offline(overview_page(found))
    assert "No folder says a class" in reader.text
    assert "Probably in the wrong class" not in reader.text


@pytest.mark.parametrize("each", [1, 2])
def test_classes_of_hardly_any_picture_are_on_the_map(run: Path, tmp_path: Path, each: int) -> None:
    found = convista.map(run, make_photos(tmp_path / "few", each=each))
    assert len(found.points) == 3 * each
    assert found.doubts == ()
    assert "fewer than 5 pictures" in str(found)
    overview_page(found)


def test_one_picture_is_a_map_and_has_no_neighbours(run: Path, tmp_path: Path) -> None:
    picture(0, 0).save(tmp_path / "one.png")
    assert convista.map(run, tmp_path).points.shape == (1, 2)
    with pytest.raises(InputError, match="one picture only"):
        convista.neighbours(run, tmp_path / "one.png", data=tmp_path)


def test_pictures_without_any_feature_are_placed_and_not_judged(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lookup.look

    def partly(*words: Any) -> lookup.Seen:
        seen = plain(*words)
        seen.values[:3] = 0
        return seen

    monkeypatch.setattr(overviews, "look", partly)
    monkeypatch.setattr(lookup, "look", partly)
    found = convista.map(run, method="pca")
    assert len(found.points) == 46
    assert "3 pictures have no features but zeros" in str(found)
    assert all(row >= 3 for group in found.groups for row in group.rows)
    assert all(doubt.row >= 3 for doubt in found.doubts)
    with pytest.raises(InputError, match=r"are zero, which has no direction.*--metric l2"):
        convista.neighbours(run, data / "val/red/v0.png")
    assert convista.neighbours(run, data / "val/red/v0.png", metric="l2").pictures == 46


def test_what_is_alike_is_told_by_what_is_usual() -> None:
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(200, 16))
    together = apart * 0.05 + 1
    for values in (apart, together):
        doubled = np.concatenate([values, values[:3] + 1e-4])
        found = convista.transfer.duplicates(doubled, usual_threshold(doubled))
        assert {(i, 200 + i) for i in range(3)} <= {group.rows for group in found}
        assert sum(len(group.rows) for group in found) < 60
    assert usual_threshold(apart[:2]) == 1


def empty(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def text(root: Path) -> Path:
    (root / "q.txt").write_text("hello")
    return root / "q.txt"


def npz(root: Path) -> Path:
    np.savez(root / "f.npz", features=np.zeros((2, 2)))
    return root / "f.npz"


def folder_html(root: Path) -> Path:
    (root / "x.html").mkdir()
    return root / "x.html"


GOOD = "train/red/000.jpg"
WRONG: list[tuple[str, Any, str]] = [
    ("a query that is no picture", lambda run, data, tmp: ["neighbours", run, text(tmp)], "q.txt: not a picture"),
    ("a query that is not there", lambda run, data, tmp: ["neighbours", run, tmp / "no.jpg"], "no.jpg: no such file"),
    ("an empty folder of queries", lambda run, data, tmp: ["neighbours", run, empty(tmp)], "no file among the queries"),
    ("no data", lambda run, data, tmp: ["neighbours", "resnet20", data / GOOD], "no pictures of its own"),
    ("no data", lambda run, data, tmp: ["map", "resnet20"], "no pictures of its own"),
    ("no weights", lambda run, data, tmp: ["map", "resnet20", data], "--weights FILE"),
    ("no such weights", lambda run, data, tmp: ["map", "resnet20", data, "--weights", "no.st"], "no.st"),
    ("weights beside a run", lambda run, data, tmp: ["map", run, "--weights", "w"], "has its own"),
    ("no such network", lambda run, data, tmp: ["map", "resnet21", data], "no network named 'resnet21'"),
    ("no such run", lambda run, data, tmp: ["map", "runs/foto", data], "no run folder at runs/foto"),
    ("an empty folder", lambda run, data, tmp: ["map", run, empty(tmp)], "no files in 'empty'"),
    ("no pictures", lambda run, data, tmp: ["map", run, text(tmp).parent], "no usable picture"),
    ("no such data", lambda run, data, tmp: ["map", run, tmp / "nowhere"], "does not exist"),
    ("features", lambda run, data, tmp: ["map", run, npz(tmp)], "does not say of which network"),
    ("features", lambda run, data, tmp: ["neighbours", run, data / GOOD, "--data", npz(tmp)], "which network"),
    ("a page of another kind", lambda run, data, tmp: ["map", run, "--out", tmp / "x.png"], "ends in .html"),
    ("a page nowhere", lambda run, data, tmp: ["map", run, "--out", tmp / "no" / "x.html"], "There is no folder"),
    ("a page that is a folder", lambda run, data, tmp: ["map", run, "--out", folder_html(tmp)], "folder of that name"),
    ("a page under a file", lambda run, data, tmp: ["map", run, "--out", text(tmp) / "x.html"], "no folder"),
    ("no metric", lambda run, data, tmp: ["neighbours", run, data / GOOD, "--metric", "l1"], "metric named 'l1'"),
    ("none asked for", lambda run, data, tmp: ["neighbours", run, data / GOOD, "--top", 0], "top=0"),
    ("no method", lambda run, data, tmp: ["map", run, "--method", "umap"], "method named 'umap'"),
    ("no cosine", lambda run, data, tmp: ["map", run, "--alike", 1.5], "alike=1.5"),
    ("no layer", lambda run, data, tmp: ["map", run, "--layer", "c9"], "no layer named 'c9'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_input_ends_in_one_clear_message_and_leaves_no_page(
    words: Any, said: str, run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert said in refused(call(*words(run, data, tmp_path)))
    assert not [path for path in tmp_path.glob("*.html") if path.is_file()]


def test_a_run_whose_pictures_have_moved_says_so(run: Path, data: Path, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    convista.Run.load(moved).update(data=str(tmp_path / "gone"))
    for words in (["map", moved], ["neighbours", moved, data / GOOD]):
        assert "are not where they were" in refused(call(*words))
    assert len(convista.map(moved, data, method="pca").points) == 46


def test_a_page_that_cannot_be_written_is_refused_before_the_work(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        convista.map(run, out=tmp_path / "no" / "m.html")
    with pytest.raises(InputError, match="ends in"):
        convista.neighbours(run, [], out=tmp_path / "m.txt")


def test_what_a_map_is_made_of_is_refused_by_the_same_words() -> None:
    assert MapRecipe.of(layer="x").features == FeatureRecipe(layer="x")
    with pytest.raises(InputError, match="Did you mean top"):
        convista.neighbours("resnet20", "q.jpg", data="digits", tops=3)
    with pytest.raises(InputError, match="list was given as data"):
        convista.map("resnet20", [1])  # type: ignore[arg-type]


def test_a_query_is_of_its_own_folder_whatever_its_copies_are_called(run: Path, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    first = sorted((folder / "red").iterdir())[0]
    shutil.copy(first, folder / "blue" / "wrong.png")
    (query,) = convista.neighbours(convista.Run.load(run), first, data=folder).queries  # a run stands for its folder
    assert query.label == "red"
    shutil.copy(first, tmp_path / "elsewhere.png")
    (query,) = convista.neighbours(run, tmp_path / "elsewhere.png", data=folder).queries
    assert query.label is None


def test_where_all_pairs_would_take_too_long_the_rest_is_done(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convista.transfer.overview.PAIRED", 10)
    found = convista.map(run, method="pca")
    assert not found.groups
    assert "Near-duplicates are not looked for among more than 10 pictures" in str(found)
    assert found.note.startswith("Principal components")
    assert found.retrieval is not None


def test_what_is_not_named_is_counted(run: Path) -> None:
    found = convista.map(run, method="pca", alike=0.5)
    largest = max(found.groups, key=lambda group: len(group.rows))
    assert sum(line.count(" = ") for line in str(found).splitlines()) >= len(largest.rows) - 1
    assert f"  and {7 * len(found.groups) - 5} more" in str(replace(found, groups=found.groups * 7))
