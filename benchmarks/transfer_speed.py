"""From a folder of pictures to a head on a pretrained network: ours against fastai and a plain PyTorch loop.

    python benchmarks/transfer_speed.py WEIGHTS [--data FOLDER] [--fastai-python PATH] [--epochs 20] [--rounds 3]

WEIGHTS are MobileNetV2's as .safetensors with torchvision's names, FOLDER holds train/CLASS/picture and
val/CLASS/picture; a seventh of train/ is put aside as test, which ours judges, too, so that all learn from the same.
All begin with these weights; in torchvision's network, which the peers have, they lack the padding that they were
trained with. The contestants, each a process of its own, taken in turn:

    ours, cold     `convista train FOLDER --from mobilenet_v2 --unfreeze none`, nothing kept yet
    ours, warm     the same a second time, into another run folder
    fastai         vision_learner, frozen as fine_tune does first: pooling and head of its own, its one cycle, and batch
                   normalisation that goes on learning, as is its default
    plain          ImageFolder, random-resized crops and mirrors, the trunk in eval mode without gradients, AdamW
    plain, best    the same in bfloat16 and channels_last

Time runs from the first look at the folder to the last epoch's judgement, without imports; ours includes its report.
Told are also the seconds until the validation accuracy that all of them reach: the lowest of their best ones.
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

SIZE, STORED, BATCH = 224, 256, 32
HALF = (0.5, 0.5, 0.5)  # what WEIGHTS expect: mean and deviation of values in 0..1
Course = list[tuple[float, float]]  # seconds so far and validation top-1, epoch by epoch
CONTESTANTS = ("ours, cold", "ours, warm", "fastai", "plain", "plain, best")


@dataclass(frozen=True)
class Task:
    """What is learned from what."""

    data: Path
    weights: Path
    epochs: int
    scratch: Path  # of the round, for what ours keeps

    @property
    def classes(self) -> int:
        return sum(folder.is_dir() for folder in (self.data / "train").iterdir())


def ours(task: Task) -> Course:
    """The front door."""
    convista = importlib.import_module("convista")
    start = time.perf_counter()
    out = Path(tempfile.mkdtemp(dir=task.scratch)) / "run"
    run = convista.train(
        task.data, from_="mobilenet_v2", weights=task.weights, unfreeze="none", epochs=task.epochs, out=out
    )
    return [(time.perf_counter() - start, run.val.top1)]


def trunk(task: Task, best: bool) -> nn.Module:
    """The network of torchvision with the weights, its last layer left out."""
    net: nn.Module = importlib.import_module("torchvision").models.mobilenet_v2(weights=None)
    net.load_state_dict(importlib.import_module("safetensors.torch").load_file(task.weights))
    net.classifier = nn.Sequential(nn.Dropout(0.2))
    net.requires_grad_(False).eval()
    return net.to(memory_format=torch.channels_last) if best else net


def plain(task: Task, best: bool = False) -> Course:
    """What a tutorial on transfer learning writes."""
    start = time.perf_counter()
    own = importlib.import_module("torchvision").transforms
    folders = importlib.import_module("torchvision").datasets.ImageFolder
    last = [own.ToTensor(), own.Normalize(HALF, HALF)]
    looks = {
        "train": own.Compose([own.RandomResizedCrop(SIZE), own.RandomHorizontalFlip(), *last]),
        "val": own.Compose([own.Resize(STORED), own.CenterCrop(SIZE), *last]),
    }
    loaders = {
        split: torch.utils.data.DataLoader(
            folders(str(task.data / split), look), BATCH, shuffle=split == "train", num_workers=2,
            persistent_workers=True,
        )
        for split, look in looks.items()
    }  # fmt: skip
    body, head = trunk(task, best), nn.Linear(1280, task.classes)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3)
    course: Course = []
    for _ in range(task.epochs):
        for pictures, targets in loaders["train"]:
            loss = nn.functional.cross_entropy(head(seen(body, pictures, best)), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        right = [
            (head(seen(body, pictures, best)).argmax(1) == targets).float() for pictures, targets in loaders["val"]
        ]
        course.append((time.perf_counter() - start, float(torch.cat(right).mean())))
    return course


def seen(body: nn.Module, pictures: torch.Tensor, best: bool) -> torch.Tensor:
    """The frozen trunk's features, in float32."""
    if best:
        pictures = pictures.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=best):
        features: torch.Tensor = body(pictures)
    return features.float().clone()


def fastai(task: Task) -> Course:
    """A vision_learner on ImageDataLoaders as in its quick start, at its default rate."""
    vision = importlib.import_module("fastai.vision.all")
    start = time.perf_counter()
    course: Course = []

    class Follow(vision.Callback):  # type: ignore[misc, name-defined]
        order = 60  # behind the recorder

        def after_epoch(self) -> None:
            course.append((time.perf_counter() - start, float(self.learn.recorder.values[-1][-1])))

    def architecture(**_: bool) -> nn.Module:
        net = importlib.import_module("torchvision").models.mobilenet_v2(weights=None)
        net.load_state_dict(importlib.import_module("safetensors.torch").load_file(task.weights))
        return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(1))  # behind which it puts a head of its own

    loaders = vision.ImageDataLoaders.from_folder(
        task.data, train="train", valid="val", bs=BATCH, num_workers=2,
        item_tfms=vision.Resize(STORED), batch_tfms=vision.aug_transforms(size=SIZE),
    )  # fmt: skip
    loaders.add_tfms([vision.Normalize.from_stats(HALF, HALF, cuda=False)], "after_batch")
    learner = vision.vision_learner(
        loaders, architecture, pretrained=False, normalize=False, metrics=vision.accuracy, cbs=[Follow()]
    )
    with contextlib.ExitStack() as stack:
        for context in (learner.no_bar, learner.no_logging):
            stack.enter_context(context())
        learner.freeze()  # what fine_tune does first, with its rate and its cycle
        learner.fit_one_cycle(task.epochs, slice(2e-3), pct_start=0.99)
    return course


PEERS: dict[str, Callable[[Task], Course]] = {
    "ours, cold": ours,
    "ours, warm": ours,
    "fastai": fastai,
    "plain": plain,
    "plain, best": lambda task: plain(task, best=True),
}


def answer(name: str, task: Task) -> None:
    """One contestant's course, as JSON on standard output."""
    warnings.simplefilter("ignore")
    told = os.fdopen(os.dup(1), "w")  # libraries may print what they like, but elsewhere
    os.dup2(2, 1)
    torch.manual_seed(0)
    for library in ("convista.verbs",) if name.startswith("ours") else ("torchvision", "safetensors.torch"):
        importlib.import_module(library)
    if name == "fastai":
        importlib.import_module("fastai.vision.all")
    print(json.dumps(PEERS[name](task)), file=told, flush=True)


def courses(pythons: dict[str, str], options: argparse.Namespace) -> Iterator[dict[str, Course]]:
    """Round by round, each contestant's course; one that fails is left out, and that is said."""
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            found: dict[str, Course] = {}
            data = shared_out(options.data, Path(scratch) / "pictures")
            for name, python in pythons.items():
                command = [python, __file__, str(options.weights), "--data", str(data), "--scratch", scratch]
                command += ["--epochs", str(options.epochs), "--contestant", name]
                surroundings = os.environ | {"XDG_CACHE_HOME": scratch, "HOME": scratch}
                done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=False)
                if done.returncode:
                    print(f"{name} has ended without an answer and is left out.", file=sys.stderr)
                    continue
                found[name] = json.loads(done.stdout)
                seconds, top1 = found[name][-1]
                print(f"  {name}: {seconds:.1f} s, top-1 {top1:.3f}", file=sys.stderr)
            yield found


def shared_out(data: Path, out: Path) -> Path:
    """The pictures with a test folder, every seventh of those to learn from, so that all learn from the same."""
    for split in ("train", "val"):
        for file in sorted((data / split).glob("*/*")):
            number = sorted(file.parent.iterdir()).index(file)
            part = "test" if split == "train" and number % 7 == 6 else split
            (out / part / file.parent.name).mkdir(parents=True, exist_ok=True)
            (out / part / file.parent.name / file.name).symlink_to(file)
    return out


def reached(course: Course, target: float) -> float:
    return next(seconds for seconds, top1 in course if top1 >= target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=lambda name: Path(name).absolute())
    parser.add_argument("--data", type=lambda name: Path(name).absolute(), required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fastai-python", default=sys.executable)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, default=Path(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        answer(options.contestant, Task(options.data, options.weights, options.epochs, options.scratch))
        return
    pythons = {name: options.fastai_python if name == "fastai" else sys.executable for name in CONTESTANTS}
    rounds = list(courses(pythons, options))
    table(rounds)


def table(rounds: list[dict[str, Course]]) -> None:
    """Seconds, accuracy, and how many times as long as ours cold and warm; medians over the rounds."""
    print("| contestant | seconds | best top-1 | x cold | x warm | seconds to the same top-1 | x cold | x warm |")
    print("|---|---|---|---|---|---|---|---|")
    names = [name for name in CONTESTANTS if all(name in found for found in rounds)]
    for name in names:
        whole, until, times = [], [], []
        for found in rounds:
            target = min(max(top1 for _, top1 in found[other]) for other in names)
            whole.append(found[name][-1][0])
            until.append(reached(found[name], target))
            times.append([value / found[own][-1][0] for value in (whole[-1], until[-1]) for own in CONTESTANTS[:2]])
        best = statistics.median(max(top1 for _, top1 in found[name]) for found in rounds)
        a, b, c, d = (statistics.median(column) for column in zip(*times, strict=True))
        seconds, soon = statistics.median(whole), statistics.median(until)
        print(f"| {name} | {seconds:.1f} | {best:.3f} | {a:.1f} | {b:.0f} | {soon:.1f} | {c:.1f} | {d:.0f} |")


if __name__ == "__main__":
    main()
