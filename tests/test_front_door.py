"""What one types and what one sees: results, JSON shapes, exit codes, and one clear message when something is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile import make_hostile
from PIL import Image

import convista as package
from conftest import Call, json_of, make_photos, picture
from convista.errors import InputError
from convista.records import Score
from convista.tasks import Run

QUICK = ("--model", "resnet20", "--image", "16", "--epochs", "3", "--batch", "8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three colours, and new pictures beside it."""
    root = tmp_path_factory.mktemp("door")
    make_photos(root / "photos", each=16)
    (root / "new").mkdir()
    for hue in range(3):
        picture(hue, 900 + hue).save(root / "new" / f"{hue}.png")
    (root / "new" / "broken.jpg").write_bytes(b"nothing")
    package.train(root / "photos", out=root / "run", model="resnet20", image=16, epochs=6, batch=8)
    return root


def test_train_prints_what_others_build_on(photos: Path, convista: Call) -> None:
    answer = json_of(convista("train", photos, *QUICK, "--out", "run", "--seed", 3, "--json"))
    assert {"run", "model", "params", "epochs", "seconds", "val", "test", "floor", "bad_files"} <= set(answer)
    assert answer["model"] == "resnet20"
    assert answer["epochs"] == 3
    assert set(answer["val"]) >= {"top1", "top5", "loss"}
    assert set(answer["floor"]) >= {"top1"}
    assert answer["bad_files"] == []


def test_a_run_folder_is_complete(made: Path) -> None:
    names = {path.name for path in (made / "run").iterdir()}
    assert names == {
        "run.json", "spec.json", "model.safetensors", "last.ckpt", "metrics.csv", "labels.json", "report.html",
        "split.csv", "mistakes.json",
    }  # fmt: skip
    info = json.loads((made / "run" / "run.json").read_text())
    assert info["recipe"]["seed"] == 0
    assert info["versions"]["torch"]
    assert info["device"] == "auto"
    assert info["command"].startswith("convista.train('")
    assert "model='resnet20', image=16" in info["command"]
    assert info["status"] == "done"
    assert len((made / "run" / "metrics.csv").read_text().splitlines()) == 7


def test_a_run_beats_its_floor(made: Path) -> None:
    run = Run.load(made / "run")
    assert run.test.top1 > run.test.floor["top1"] + 0.3
    assert str(run.test).startswith("top-1 ")


def test_predict_names_pictures_and_lists_what_was_skipped(made: Path, convista: Call) -> None:
    answer = json_of(convista("predict", made / "run", made / "new", "--json"))
    assert [p["image"].split("/")[-1] for p in answer["predictions"]] == ["0.png", "1.png", "2.png"]
    assert [p["top"][0]["label"] for p in answer["predictions"]] == ["red", "green", "blue"]
    assert sum(g["probability"] for g in answer["predictions"][0]["top"]) == pytest.approx(1)
    assert answer["skipped"] == [{"path": f"{made / 'new'}/broken.jpg", "reason": "not a picture"}]


def test_predict_takes_patterns_pictures_and_missing_files(made: Path) -> None:
    run = Run.load(made / "run")
    assert len(run.predict(str(made / "new" / "*.png")).predictions) == 3
    assert run.predict(picture(1, 77)).predictions[0].top[0].label == "green"
    assert run.predict([made / "none.png"]).skipped[0].reason == "no such file"
    both = run.predict([made / "new" / "0.png", picture(0, 900)]).predictions
    assert both[0].top == both[1].top


def test_what_is_no_picture_is_told_from_python(made: Path) -> None:
    run = Run.load(made / "run")
    with pytest.raises(InputError, match="A ndarray was given"):
        run.predict(np.zeros((8, 8, 3)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="A int was given"):
        run.predict([3])  # type: ignore[list-item]
    assert run.predict(Image.new("RGB", (1, 1))).skipped[0].reason.startswith("too small")
    with pytest.raises(InputError, match="A int was given as data"):
        package.train(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="checkpoint_seconds=-1"):
        package.train("digits", checkpoint_seconds=-1)
    assert repr(run).endswith("resnet20 on photos, done)")


def test_a_reader_that_has_had_enough_is_no_error(made: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m convista predict {made / 'run'} {made / 'photos'} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_finished_run_without_weights_says_what_is_missing(made: Path, tmp_path: Path, convista: Call) -> None:
    shutil.copytree(made / "run", tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    done = convista("predict", "copy", made / "new" / "0.png")
    assert done.returncode == 2
    assert "model.safetensors is missing" in done.stderr


def test_predictions_do_not_depend_on_the_company(made: Path) -> None:
    run = Run.load(made / "run")
    together = run.predict(sorted((made / "photos").rglob("*.*"))).predictions
    for answer in together[::9]:
        alone = run.predict(answer.image).predictions[0]
        assert alone.top[0].probability == pytest.approx(answer.top[0].probability, abs=1e-5)


def test_eval_leaves_out_what_training_has_seen(made: Path, convista: Call) -> None:
    run = Run.load(made / "run")
    answer = json_of(convista("eval", made / "run", made / "photos", "--json"))
    assert answer["top1"] == pytest.approx(run.test.top1)
    assert answer["used"] == run.test.pictures
    assert answer["seen_in_training"] == 48 - run.test.pictures
    assert json_of(convista("eval", made / "run", "--json"))["confusion"] == run.test.confusion


def test_eval_judges_new_pictures(made: Path, tmp_path: Path, convista: Call) -> None:
    for hue, label in enumerate(("red", "green")):
        (tmp_path / "test" / label).mkdir(parents=True)
        for i in range(5):
            picture(hue, 333 + 10 * hue + i).save(tmp_path / "test" / label / f"{i}.png")
    answer = json_of(convista("eval", made / "run", "test", "--json"))
    assert answer["used"] == 10
    assert [c["pictures"] for c in answer["classes"]] == [0, 5, 5]
    score, _ = Run.load(made / "run").evaluate(tmp_path / "test")
    assert isinstance(score, Score)
    done = convista("eval", made / "run", "test")
    assert re.search(r"red +5", done.stdout)


def test_eval_refuses_an_unknown_class_and_pictures_all_seen(made: Path, tmp_path: Path, convista: Call) -> None:
    (tmp_path / "x" / "purple").mkdir(parents=True)
    picture(0, 1).save(tmp_path / "x" / "purple" / "1.png")
    done = convista("eval", made / "run", "x")
    assert done.returncode == 2
    assert "Class 'purple' is not one that" in done.stderr
    seen = next(row.split(",")[3] for row in (made / "run" / "split.csv").read_text().splitlines()[1:])
    (tmp_path / "y" / seen.split("/")[0]).mkdir(parents=True)
    shutil.copy(made / "photos" / seen, tmp_path / "y" / seen)
    done = convista("eval", made / "run", "y")
    assert done.returncode == 2
    assert "1 were seen in training" in done.stderr


def test_the_version_is_told(convista: Call) -> None:
    assert convista("--version").stdout.strip() == package.__version__


def test_models_lists_names_and_prices(convista: Call) -> None:
    rows = {row["name"]: row for row in json_of(convista("models", "--json"))}
    assert rows["resnet18"] == {
        "name": "resnet18", "family": "resnet", "year": 2015, "params": 11689512, "macs": 1814073344, "image": 224,
        "channels": 3, "depth": 21, "top1": 69.758, "top5": 89.078, "dataset": "ImageNet-1k val", "checked": True,
        "protocol": "one crop 224", "source": "torchvision IMAGENET1K_V1 weights", "licence": "BSD-3-Clause",
        "weights": "resnet18-f37072fd.pth",
    }  # fmt: skip
    assert "mobilenet_v2" in convista("models").stdout


def test_the_report_stands_alone(made: Path, convista: Call) -> None:
    page = (made / "run" / "report.html").read_text()
    assert len(page) < 3_000_000
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page
    for word in ("Curves", "Confusion", "mistakes", "filters", "Price", "Files that were not used", "floor"):
        assert word in page
    again = json_of(convista("report", made / "run", "--json"))
    assert Path(again["report"]).read_text() == page


def test_a_report_shows_names_as_text(tmp_path: Path) -> None:
    root = make_photos(tmp_path / "p", ("<b>bold", "a&b"), each=6)
    run = package.train(root, out=tmp_path / "run", model="lenet5", image=32, epochs=1)
    page = (run.path / "report.html").read_text()
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page


def test_hostile_files_are_listed_and_the_good_ones_trained_on(tmp_path: Path, convista: Call) -> None:
    root = make_photos(tmp_path / "photos")
    refused = make_hostile(root)
    assert len(list(root.rglob("hostile*"))) >= 200
    answer = json_of(convista("train", root, *QUICK, "--out", "run", "--json"))
    reasons = {file["path"]: file["reason"] for file in answer["bad_files"]}
    assert set(refused) <= set(reasons)
    assert all(refused[path] in reasons[path] for path in refused)
    assert "broken link" in (tmp_path / "run" / "report.html").read_text()
    strict = convista("train", root, *QUICK, "--out", "strict", "--strict")
    assert strict.returncode == 2
    assert f"{len(reasons)} files are not usable" in strict.stderr
    assert not (tmp_path / "strict").exists()


def _empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def _one_class(root: Path) -> None:
    shutil.rmtree(root / "red")
    shutil.rmtree(root / "green")


def _one_picture(root: Path) -> None:
    for path in sorted((root / "red").iterdir())[1:]:
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (_empty, (), "There are no files in 'photos'"),
        (_one_class, (), "one class only (blue)"),
        (_one_picture, (), "'red' has 1."),
        (None, ("--model", "resnet81"), "Did you mean resnet18"),
        (None, ("--model", "lenet5", "--image", "8"), "cannot take pictures of 8x8"),
        (None, ("--epochs", "0"), "epochs=0"),
        (None, ("--channels", "4"), "channels=4"),
        (None, ("--device", "tpu"), "'tpu' is not on this machine"),
        (None, ("--optimizer", "adamv"), "Did you mean adam"),
        (None, ("--out", "photos"), "photos is not empty"),
        (None, ("--out", "a_file"), "there is a file of that name"),
        (None, ("--out", "a_file/run"), "cannot be written"),
        (None, ("--resume", "nowhere"), "not both can be done"),
    ],
)
def test_wrong_input_ends_in_one_message_and_leaves_nothing(
    photos: Path, tmp_path: Path, convista: Call, spoil, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "a_file").write_text("here")
    if spoil:
        spoil(photos)
    before = sorted(tmp_path.rglob("*"))
    done = convista("train", photos, *QUICK, *words)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "nowhere", "x.png"), "no run folder at nowhere"),
        (("eval", "nowhere", "x"), "no run folder at nowhere"),
        (("report", "nowhere"), "no run folder at nowhere"),
        (("train",), "Nothing to train on was given"),
        (("train", "no/such/folder"), "does not exist"),
        (("trane",), "No such command 'trane'"),
        (("train", "x", "--epoch", "3"), "No such option"),
    ],
)
def test_wrong_words_end_in_exit_code_2(convista: Call, words: tuple[str, ...], message: str) -> None:
    done = convista(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_without_a_usable_picture_is_an_error(made: Path, convista: Call) -> None:
    done = convista("predict", made / "run", made / "new" / "broken.jpg")
    assert done.returncode == 2
    assert "skipped" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 40 MB, or a skip where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_too_small_is_told_before_training(photos: Path, small_disk: Path, convista: Call) -> None:
    (small_disk / "ballast").write_bytes(b"\0" * (24 << 20))
    done = convista("train", photos, *QUICK, "--out", small_disk / "run")
    assert done.returncode == 2
    assert "MB left; a run of resnet20 needs" in done.stderr
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_disk_that_fills_up_ends_in_one_message_and_loses_nothing(photos: Path, small_disk: Path) -> None:
    """Filled while training runs, then emptied: the run goes on."""
    code = f"""
import sys, pathlib
from convista.training import Console
from convista.verbs import train
from convista.errors import StorageError
disk = pathlib.Path({str(small_disk)!r})
def say(text):
    if text.startswith("epoch   2"):
        with (disk / "ballast").open("wb", buffering=0) as file:
            try:
                while file.write(b"0" * 4096): pass
            except OSError: pass
try:
    train({str(photos)!r}, out=disk / "run", console=Console(say=say), model="resnet20", image=16, epochs=5, batch=8)
except StorageError as error:
    print(error)
    sys.exit(2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stdout
    assert not list((small_disk / "run").glob(".*"))
    (small_disk / "ballast").unlink()
    assert package.train(resume=small_disk / "run").done


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(photos: Path, tmp_path: Path, convista: Call) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = convista("train", photos, *QUICK, "--out", "locked/run")
    assert done.returncode == 2
    assert "you may not write there" in done.stderr


def test_a_read_only_place_is_told(photos: Path, convista: Call) -> None:
    done = convista("train", photos, *QUICK, "--out", "/proc/convista/run")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_our_own_fault_keeps_the_traceback_in_a_file(tmp_path: Path) -> None:
    code = "import convista.cli.app as m; m.app = lambda **k: 1 / 0; m.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    file = re.search(r"in (\S+\.log)", done.stderr)
    assert file
    assert "ZeroDivisionError" in Path(file[1]).read_text()
    Path(file[1]).unlink()


def test_the_same_seed_gives_the_same_network(photos: Path, tmp_path: Path) -> None:
    runs = [
        package.train(photos, out=tmp_path / name, model="resnet20", image=16, epochs=2, batch=8, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    weights = [(run.path / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] != weights[2]


def test_grey_and_colour_meet_any_network(photos: Path, tmp_path: Path) -> None:
    grey = package.train(photos, out=tmp_path / "grey", model="lenet5", epochs=1)
    assert grey.view.channels == 1
    colour = package.train("digits", out=tmp_path / "colour", model="resnet20", image=8, epochs=1, batch=256)
    assert colour.view.channels == 3
    assert np.isfinite(colour.test.loss)
