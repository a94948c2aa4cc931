"""A run goes on as if nothing had happened: after Ctrl-C, SIGTERM, kill -9, and on several processes."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import Call, make_photos
from convista.errors import RunError
from convista.tasks import Run
from convista.training import Console
from convista.verbs import train

KILLS = 20 if os.environ.get("CONVISTA_TEST_ALL") else 7
SMALL = ["--model", "resnet20", "--image", "16", "--epochs", "30", "--batch", "4", "--checkpoint-seconds", "0.05"]


def start(*words: object, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "convista", "train", *map(str, words)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # small nets: more threads would only wait for each other
    return subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=stderr, env=one_thread)


def results(folder: Path) -> tuple[bytes, list[list[str]]]:
    """Weights to the byte, and the learning curve without its two columns of wall-clock time."""
    rows = csv.reader((folder / "metrics.csv").read_text().splitlines())
    return (folder / "model.safetensors").read_bytes(), [row[:-2] for row in rows]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("resume") / "photos", each=60)


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    """The run that nobody interrupts."""
    folder = data.parent / "whole"
    done = start(data, *SMALL, "--out", folder)
    assert done.wait(120) == 0
    return folder


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(data: Path, whole: Path) -> None:
    folder, chance, kills = data.parent / "killed", random.Random(9), 0
    while kills < KILLS and not (folder / "run.json").exists():  # a kill before the first file means a new start
        process = start(data, *SMALL, "--out", folder)
        while process.poll() is None and not (folder / "run.json").exists():
            time.sleep(0.01)
        time.sleep(chance.random())
        process.kill()
        process.wait()
        kills += 1
    while kills < KILLS and not Run.load(folder).done:
        process = start("--resume", folder)
        deadline = time.monotonic() + 60
        before = (folder / "last.ckpt").stat().st_mtime_ns if (folder / "last.ckpt").exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            saved = (folder / "last.ckpt").stat().st_mtime_ns if (folder / "last.ckpt").exists() else 0
            if saved != before:  # it has begun to train: now any moment will do
                time.sleep(chance.random() * 0.4)
                break
            time.sleep(0.005)
        process.kill()
        process.wait()
        kills += 1
    last = start("--resume", folder)
    assert last.wait(120) == 0
    assert kills == KILLS
    assert results(folder) == results(whole)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_exits_130(data: Path, whole: Path, number: int) -> None:
    folder = data.parent / f"signal{number}"
    process = start(data, *SMALL, "--out", folder, stderr=subprocess.PIPE)
    while not (folder / "last.ckpt").exists():
        time.sleep(0.005)
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"convista train --resume {folder}" in said
    assert "Traceback" not in said
    resumed = start("--resume", folder)
    assert resumed.wait(120) == 0
    assert results(folder) == results(whole)


def on_two(*command: object) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run([*launch, *map(str, command)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.parametrize("more", ["", "--optimizer muon --schedule onecycle --ema 0.9 --accumulate 2"])
def test_two_processes_learn_the_same_curve_as_one(data: Path, tmp_path: Path, more: str) -> None:
    words = [data, "--model", "lenet5", "--epochs", "3", "--batch", "17", "--precision", "fp32", *more.split()]
    assert start(*words, "--out", tmp_path / "one").wait(120) == 0
    on_two("-m", "convista", "train", *words, "--out", tmp_path / "two")
    curves = [[float(x) for row in results(tmp_path / name)[1][1:] for x in row] for name in ("one", "two")]
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)


@pytest.mark.parametrize("model", ["resnet20", "timm:test_efficientnet"])  # whose norms are timm's own
def test_batch_statistics_are_those_of_all_processes(data: Path, model: str) -> None:
    """In double precision, because training amplifies the rounding of single precision by twenty in each early step."""
    script = Path(__file__).with_name("double_precision.py")
    if model.startswith("timm:"):
        pytest.importorskip("timm")
    alone = subprocess.run([sys.executable, script, data, model], capture_output=True, text=True, timeout=120)
    together = on_two(script, data, model)
    losses = [list(map(float, done.stdout.split())) for done in (alone, together)]
    assert len(losses[0]) == 9
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_resume_refuses_when_the_pictures_have_changed(photos: Path, tmp_path: Path) -> None:
    calls = iter(range(100))
    console = Console(stopped=lambda: next(calls) > 3)
    with pytest.raises(Exception, match="--resume"):
        train(photos, out=tmp_path / "run", console=console, model="resnet20", image=16, batch=4)
    next(photos.rglob("*.png")).unlink()
    with pytest.raises(RunError, match="are not those"):
        train(resume=tmp_path / "run")


def test_resuming_a_finished_run_changes_nothing(photos: Path, tmp_path: Path) -> None:
    run = train(photos, out=tmp_path / "run", model="resnet20", image=16, epochs=1)
    before = (run.path / "model.safetensors").read_bytes()
    assert train(resume=run.path).done
    assert (run.path / "model.safetensors").read_bytes() == before


def test_resume_takes_no_other_option(photos: Path, tmp_path: Path, convista: Call) -> None:
    done = convista("train", "--resume", tmp_path / "run", "--epochs", 3)
    assert done.returncode == 2
    assert "no other option" in done.stderr
