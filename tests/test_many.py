"""Several processes, several hosts, lost workers: the same result, and one clear word where it cannot be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist
from test_resume import results

import convista
from conftest import make_photos
from convista.errors import InputError, InterruptedRunError
from convista.tasks import Run
from convista.tasks.restart import left_behind
from convista.training import Console, launch_of_torchrun
from convista.verbs import train

SMALL = ["--model", "lenet5", "--epochs", "3", "--batch", "17", "--precision", "fp32"]
LONG = ["--model", "lenet5", "--epochs", "20", "--batch", "8", "--precision", "fp32", "--checkpoint-seconds", "0.05"]
LAUNCH = [sys.executable, "-m", "torch.distributed.run"]


def launch(
    *words: object, where: Path, options: tuple[str, ...] = ("--standalone",), processes: int = 2, **more: str
) -> subprocess.Popen[str]:
    """torchrun in the folder `where`, with its own cache if `XDG_CACHE_HOME` is given."""
    command = [*LAUNCH, f"--nproc-per-node={processes}", *options, "-m", "convista", "train", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | more
    where.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, cwd=where, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    _, said = process.communicate(timeout=200)
    assert process.returncode == code, said[-3000:]
    return said


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def curve(folder: Path) -> list[float]:
    return [float(x) for row in results(folder)[1][1:] for x in row]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("many") / "photos", each=60)


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    """The run on two processes that nobody disturbs."""
    end(launch(data, *LONG, "--out", data.parent / "whole", where=data.parent))
    return data.parent / "whole"


def test_four_processes_learn_the_same_curve_as_one(data: Path, tmp_path: Path) -> None:
    words = {"model": "lenet5", "epochs": 3, "batch": 17, "precision": "fp32"}
    train(data, out=tmp_path / "one", **words)
    end(launch(data, *SMALL, "--out", tmp_path / "four", where=tmp_path, processes=4))
    assert curve(tmp_path / "one") == pytest.approx(curve(tmp_path / "four"), abs=1e-5)


def test_a_run_goes_on_with_another_number_of_processes(data: Path, tmp_path: Path) -> None:
    words = {"model": "lenet5", "epochs": 4, "batch": 17, "precision": "fp32"}
    train(data, out=tmp_path / "whole", **words)
    asked = iter(range(1000))
    with pytest.raises(InterruptedRunError):  # one process, until the middle of the second epoch
        train(data, out=tmp_path / "run", console=Console(stopped=lambda: next(asked) > 11), **words)
    first = Run.load(tmp_path / "run").history
    end(launch("--resume", tmp_path / "run", where=tmp_path, processes=4))
    assert Run.load(tmp_path / "run").done
    assert len(first) == 1
    assert curve(tmp_path / "run") == pytest.approx(curve(tmp_path / "whole"), abs=1e-5)


def on_two_hosts(
    data: tuple[object, object], tmp_path: Path, *words: object
) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Two launchers that share nothing but a port: each has its own folder and its own cache."""
    port = free_port()
    first, second = (
        launch(
            *([data[i]] if data[i] else []), *words, where=tmp_path / f"host{i}", processes=1,
            options=("--nnodes=2", f"--node-rank={i}", "--master-addr=127.0.0.1", f"--master-port={port}"),
            XDG_CACHE_HOME=str(tmp_path / f"host{i}" / "cache"),
        )
        for i in range(2)
    )  # fmt: skip
    return first, second


def test_two_hosts_without_a_shared_disk_train_and_resume(data: Path, tmp_path: Path) -> None:
    """The pictures are on both, the run folder is on the first only, which alone writes."""
    for process in on_two_hosts((data, data), tmp_path, *SMALL, "--out", "run"):
        end(process)
    assert not (tmp_path / "host1" / "run").exists()
    assert {file.name for file in (tmp_path / "host1").iterdir()} == {"cache"}
    words = {"model": "lenet5", "epochs": 3, "batch": 17, "precision": "fp32"}
    one, two = train(data, out=tmp_path / "one", **words), Run.load(tmp_path / "host0" / "run")
    assert curve(two.path) == pytest.approx(curve(one.path), abs=1e-5)
    assert two.test.top1 == one.test.top1
    asked = iter(range(1000))
    with pytest.raises(InterruptedRunError):
        train(data, out=tmp_path / "host0" / "begun", console=Console(stopped=lambda: next(asked) > 11), **words)
    for process in on_two_hosts((None, None), tmp_path, "--resume", "begun"):
        end(process)
    assert curve(tmp_path / "host0" / "begun") == pytest.approx(curve(one.path), abs=1e-5)
    assert not (tmp_path / "host1" / "begun").exists()


def test_a_host_without_the_pictures_ends_both_with_one_message(data: Path, tmp_path: Path) -> None:
    both = on_two_hosts((data, tmp_path / "nowhere"), tmp_path, *SMALL, "--out", "run")
    said = [end(process, 1) for process in both]
    for text in said:
        assert "nowhere does not exist" in text
    assert "Process 1 on " in said[0]
    assert not (tmp_path / "host0" / "run").exists()


def test_a_host_with_other_pictures_ends_both_with_one_message(data: Path, tmp_path: Path) -> None:
    other = make_photos(tmp_path / "other", each=60)
    shutil.copy(other / "red" / "001.png", other / "red" / "003.png")
    both = on_two_hosts((data, other), tmp_path, *SMALL, "--out", "run")
    for process in both:
        assert "red/003.png is not what the first process has under this name" in end(process, 1)
    assert not (tmp_path / "host0" / "run").exists()


def test_a_network_that_several_processes_would_train_otherwise_is_refused_before_anything_is_left(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Own(nn.BatchNorm2d): pass\n"
        "def tiny(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, classes, 3), Own(classes), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    words = ("--model", "mine:tiny", "--image", 16, "--epochs", 1, "--out", tmp_path / "run")
    said = end(launch(data, *words, where=tmp_path), 1)
    assert "layer 1 of kind Own" in said
    assert not (tmp_path / "run").exists()


def workers(launcher: int) -> list[int]:
    """The processes that a launcher has started."""
    found = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(number) for number in found if b"convista" in Path(f"/proc/{number}/cmdline").read_bytes()]


def wait_for_epochs(folder: Path, launcher: subprocess.Popen[str]) -> None:
    """Until two epochs are done."""
    deadline = time.monotonic() + 60
    while not (folder / "last.ckpt").exists() or len(Run.load(folder).history) < 2:
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
@pytest.mark.parametrize("which", [0, 1] if os.environ.get("CONVISTA_TEST_ALL") else [1])
def test_a_job_that_lost_a_worker_goes_on_by_itself_to_the_same_bytes(
    data: Path, whole: Path, tmp_path: Path, which: int
) -> None:
    launcher = launch(
        data, *LONG, "--out", tmp_path / "run", where=tmp_path, options=("--standalone", "--max-restarts=2")
    )
    wait_for_epochs(tmp_path / "run", launcher)
    os.kill(workers(launcher.pid)[which], signal.SIGKILL)
    end(launcher)
    assert Run.load(tmp_path / "run").done
    assert results(tmp_path / "run") == results(whole)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
@pytest.mark.skipif(not os.environ.get("CONVISTA_TEST_ALL"), reason="two runs on three processes")
def test_three_processes_that_lost_one_end_with_the_same_curve_up_to_rounding(data: Path, tmp_path: Path) -> None:
    """Not with the same bytes: see docs/many-machines.md."""
    end(launch(data, *LONG, "--out", tmp_path / "whole", where=tmp_path, processes=3))
    options = ("--standalone", "--max-restarts=2")
    launcher = launch(data, *LONG, "--out", tmp_path / "run", where=tmp_path, options=options, processes=3)
    wait_for_epochs(tmp_path / "run", launcher)
    os.kill(workers(launcher.pid)[2], signal.SIGKILL)
    end(launcher)
    assert curve(tmp_path / "run") == pytest.approx(curve(tmp_path / "whole"), abs=1e-5)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
def test_a_job_that_lost_half_its_processes_goes_on_with_the_rest(data: Path, whole: Path, tmp_path: Path) -> None:
    """The same job and command with fewer processes, as an elastic torchrun starts them when a host is lost."""
    words = (data, *LONG, "--out", tmp_path / "run")
    job = ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=job")
    first = launch(*words, where=tmp_path, options=job)
    wait_for_epochs(tmp_path / "run", first)
    lost = workers(first.pid)
    for number in (first.pid, *lost):
        os.kill(number, signal.SIGKILL)
    first.communicate()
    end(launch(*words, where=tmp_path, options=job, processes=1))
    assert len(lost) == 2
    assert Run.load(tmp_path / "run").done
    assert curve(tmp_path / "run") == pytest.approx(curve(whole), abs=1e-3)


def test_without_restarts_a_taken_folder_is_refused_as_ever(data: Path, whole: Path, tmp_path: Path) -> None:
    said = end(launch(data, *LONG, "--out", whole, where=tmp_path), 1)
    assert f"The output folder {whole} is not empty" in said


STATIC = ("--nnodes=1", "--node-rank=0", "--master-addr=127.0.0.1")
RENDEZVOUS = {
    "static": lambda: (*STATIC, f"--master-port={free_port()}"),
    "by-name": lambda: ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=job"),
}


@pytest.mark.parametrize("rendezvous", RENDEZVOUS)
def test_a_run_that_another_launcher_has_finished_is_refused_after_a_restart_too(
    data: Path, tmp_path: Path, rendezvous: str
) -> None:
    """The first try is refused, and so must be the next, which the same launcher makes of the same command."""
    words, meet = (data, *SMALL, "--out", tmp_path / "run"), RENDEZVOUS[rendezvous]
    end(launch(*words, where=tmp_path, options=meet(), processes=1))
    before = (tmp_path / "run" / "run.json").read_bytes()
    said = end(launch(*words, where=tmp_path, options=(*meet(), "--max-restarts=1"), processes=1), 1)
    assert said.count(f"The output folder {tmp_path / 'run'} is not empty") >= 2  # by each try, and in the summary
    assert "trained to its end already" not in said
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
def test_a_launcher_without_a_name_goes_on_with_its_own_run_only(data: Path, tmp_path: Path) -> None:
    words = (data, *LONG, "--out", tmp_path / "run")
    options = (*RENDEZVOUS["static"](), "--max-restarts=1")
    launcher = launch(*words, where=tmp_path, options=options, processes=1)
    wait_for_epochs(tmp_path / "run", launcher)
    os.kill(workers(launcher.pid)[0], signal.SIGKILL)
    end(launcher)
    assert Run.load(tmp_path / "run").done
    Run.load(tmp_path / "run").update(status="running")
    assert "convista train --resume" in end(launch(*words, where=tmp_path, options=options, processes=1), 1)


def test_what_a_launcher_has_left_behind(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own run, begun or done, and what another of the same name has begun; never what another has done."""
    shutil.copytree(whole, tmp_path / "run")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for key, value in {
        "RUN_ID": "job", "RESTART_COUNT": "1", "USE_AGENT_STORE": "True"
    }.items():  # fmt: skip
        monkeypatch.setenv(f"TORCHELASTIC_{key}", value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    mine = launch_of_torchrun()
    assert mine == launch_of_torchrun() != ""
    run = Run.load(tmp_path / "run").update(command="this", job="job")

    def found(status: str, launch: str, command: str = "this") -> bool:
        run.update(status=status, launch=launch)
        return left_behind(tmp_path / "run", "", command) is not None

    assert found("running", mine)
    assert found("running", "another")
    assert found("done", mine)
    assert not found("done", "another")
    assert not found("running", mine, "that")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    run = run.update(job=mine)
    assert found("running", mine)
    run = run.update(job="another")
    assert not found("running", "another")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    run = run.update(job=mine)
    assert not found("done", mine)  # the same words a second time in one script


def test_another_command_never_continues_a_run(data: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    Run.load(tmp_path / "run").update(status="running")
    restarted = {"TORCHELASTIC_RESTART_COUNT": "1"}
    command = [
        sys.executable,
        "-m",
        "convista",
        "train",
        str(data),
        "--model",
        "lenet5",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, env=os.environ | restarted, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_trains_the_same_network_and_refuses_once(data: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("ray.train")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    words = {"model": "lenet5", "epochs": 3, "batch": 17, "precision": "fp32"}
    spread = convista.ray_train(data, out=tmp_path / "ray", workers=2, **words)
    alone = train(data, out=tmp_path / "one", **words)
    assert curve(spread.path) == pytest.approx(curve(alone.path), abs=1e-5)
    with pytest.raises(InputError, match="is not empty"):
        convista.ray_train(data, out=tmp_path / "ray", workers=2, **words)


def test_without_ray_the_extra_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.train", None)
    with pytest.raises(InputError, match=r"convista\[scale\]"):
        convista.ray_train(data, out=tmp_path / "ray")
