"""Training on the CPU: ours against plain PyTorch, timm's train loop and fastai, each at its defaults and at its best.

    python benchmarks/train_speed.py [--data FOLDER] [--fastai-python PATH] [--networks resnet18,mobilenet_v2]

FOLDER holds train/CLASS/picture and val/CLASS/picture; without one, JPEG photographs of 500 x 375 pixels are made.
Every contestant is a process of its own (train_peer.py says how each is set up), all have the same number of threads,
and they train their epochs in turn. Images a second are the median over the epochs behind the first, ratios the median
of ratios within a turn; beside them, processor seconds a picture (workers included), which other work on the machine
disturbs less (with OMP_NUM_THREADS=1: two threads burn time waiting for each other where others work). Three settings
of each peer: its defaults; bfloat16, channels_last and two workers that stay ("best"); and that with an allocator that
keeps its memory ("best, kept"). Ours has no settings.

Then, on the first network, seconds until the mean loss of 16 steps in a row has come down to --loss, with the same
optimiser and looks for all: from making the network and looking at the folder for the first time, without imports.
A peer that is not installed is left out, and that is said; fastai may live in another environment.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load_speed import make_photographs

HERE = Path(__file__).parent
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}
WINDOW = 16  # steps over which a loss is averaged
MOST = 30  # epochs until a loss counts as never reached


@dataclass
class Contestant:
    """A process that trains an epoch when told to."""

    name: str
    setting: str
    process: "subprocess.Popen[str]"
    setup: float = 0.0
    work: list[float] = field(default_factory=list)  # processor seconds a picture, by epoch

    def answer(self) -> dict[str, Any]:
        """Raises `RuntimeError` when there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ({self.setting}) has ended without an answer.")
        found: dict[str, Any] = json.loads(line)
        return found

    def epoch(self) -> list[tuple[float, float, int]]:
        """When each step ended, its loss, its pictures. Notes the epoch's processor seconds a picture."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told = self.answer()
        self.work.append(told["processor"] / sum(pictures for _, _, pictures in told["steps"]))
        return [(end, loss, pictures) for end, loss, pictures in told["steps"]]


def speed(steps: list[tuple[float, float, int]]) -> float:
    """Pictures a second."""
    return sum(pictures for _, _, pictures in steps) / steps[-1][0]


def settings(pythons: dict[str, str], all_three: bool) -> list[tuple[str, str]]:
    """Who takes part, and how."""
    kinds = ("defaults", "best", "best, kept") if all_three else ("defaults", "best, kept")
    return [("ours", ""), *((peer, kind) for peer in pythons if peer != "ours" for kind in kinds)]


@contextmanager
def contestant(python: str, name: str, setting: str, own: bool, task: list[str]) -> Iterator[Contestant]:
    """Starts one, waits until it is ready, and ends it behind the block."""
    environment = os.environ | (KEPT if "kept" in setting else {})
    flags = [*(["--best"] if "best" in setting else []), *(["--own"] if own and setting == "defaults" else [])]
    command = [python, str(HERE / "train_peer.py"), name, *task, *flags]
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True, env=environment)
        one = Contestant(name, setting, process)
        try:
            one.setup = one.answer()["seconds"]
            yield one
        except RuntimeError:
            said.seek(0)
            print(said.read()[-2000:], file=sys.stderr)
            raise
        finally:
            process.kill()
            process.wait()


def throughput(pythons: dict[str, str], task: list[str], epochs: int, quick: bool) -> None:
    """Prints a row for each contestant: images a second, ours over theirs, the first epoch."""
    with ExitStack() as stack:
        all_of_them = [
            stack.enter_context(contestant(pythons[name], name, setting, True, task))
            for name, setting in settings(pythons, not quick)
        ]
        first = [speed(one.epoch()) for one in all_of_them]
        turns = [[speed(one.epoch()) for one in all_of_them] for _ in range(epochs)]
    for i, one in enumerate(all_of_them):
        ratios = [turn[0] / turn[i] for turn in turns]
        work = statistics.median(a / b for a, b in zip(one.work[1:], all_of_them[0].work[1:], strict=True))
        print(f"| {one.name} | {one.setting} | {statistics.median(turn[i] for turn in turns):.1f} images/s | "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {work:.2f} | "
              f"{first[i]:.1f} images/s, {one.setup:.1f} s to set up |", flush=True)  # fmt: skip


def until(one: Contestant, goal: float) -> tuple[float, int]:
    """Seconds and steps to a mean loss of `goal`; infinitely many where it is not reached."""
    begun, losses = one.setup, []
    for _ in range(MOST):
        steps = one.epoch()
        for end, loss, _ in steps:
            losses.append(loss)
            if len(losses) >= WINDOW and statistics.mean(losses[-WINDOW:]) <= goal:
                return begun + end, len(losses)
        begun += steps[-1][0]
    return float("inf"), len(losses)


def to_the_loss(pythons: dict[str, str], task: list[str], goal: float) -> None:
    """Prints a row for each contestant: seconds to the loss, over ours, steps."""
    ours = 0.0
    for name, setting in settings(pythons, False):
        with contestant(pythons[name], name, setting, False, task) as one:
            seconds, steps = until(one, goal)
        ours = ours or seconds
        print(f"| {name} | {setting} | {seconds:.1f} s | {seconds / ours:.2f} | {steps} steps |", flush=True)


def some_of(data: Path, pictures: int, target: Path) -> Path:
    """A folder with the first pictures of each class: `pictures` to train on, and at least one each to validate."""
    for split, count in (("train", pictures), ("val", 1)):
        classes = sorted(folder for folder in (data / split).iterdir() if folder.is_dir())
        for folder in classes:
            (target / split / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[: max(1, count // len(classes))]:
                shutil.copy(path, target / split / folder.name)
    return target


def pictures_for(options: argparse.Namespace, scratch: Path) -> tuple[Path, Path]:
    """What the epochs in turn are trained on, and what is trained down to a loss."""
    whole: Path | None = options.data
    if whole is None:
        whole = scratch / "made"
        make_photographs(whole / "train", max(options.pictures // 2, 60))
        make_photographs(whole / "val", 2)
    return some_of(whole, options.pictures, scratch / "some"), whole


def installed(options: argparse.Namespace) -> dict[str, str]:
    """The interpreter of each contestant whose library can be found."""
    wanted = {"ours": sys.executable, "plain": sys.executable, "timm": sys.executable, "fastai": options.fastai_python}
    there = {}
    for name, library in {"ours": "convista", "plain": "torchvision", "timm": "timm", "fastai": "fastai"}.items():
        if subprocess.run([wanted[name], "-c", f"import {library}"], capture_output=True).returncode == 0:
            there[name] = wanted[name]
        else:
            print(f"{name} is left out: {wanted[name]} has no {library}.", file=sys.stderr)
    return there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--networks", default="resnet18,mobilenet_v2")
    parser.add_argument("--epochs", type=int, default=3, help="0 leaves this part out")
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--loss", type=float, default=1.8, help="0 leaves this part out")
    parser.add_argument("--quick", action="store_true", help="leave out the best settings without the allocator")
    parser.add_argument("--fastai-python", default=sys.executable)
    options = parser.parse_args()
    pythons, networks = installed(options), options.networks.split(",")
    with tempfile.TemporaryDirectory() as folder:
        some, whole = pictures_for(options, Path(folder))
        for network in networks if options.epochs else ():
            print(
                f"\n{network}: who, how, speed, ours over it (least to most), its processor time over ours, first",
                flush=True,
            )
            task = ["--network", network, "--batch", str(options.batch)]
            throughput(pythons, [str(some), *task], options.epochs, options.quick)
        if options.loss:
            print(f"\n{networks[0]} to a loss of {options.loss}: who, how, seconds, over ours, steps", flush=True)
            task = ["--network", networks[0], "--batch", str(options.batch)]
            to_the_loss(pythons, [str(whole), *task], options.loss)


if __name__ == "__main__":
    main()
