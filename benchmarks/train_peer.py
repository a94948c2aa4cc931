"""One contestant of train_speed.py in a process of its own: it trains an epoch for each line on its standard input.

    python benchmarks/train_peer.py ours|plain|timm|fastai DATA --network resnet18 [--best] [--own]

It answers with one line of JSON: first what making network, loader and cache took, then for each epoch when each step
ended (seconds from the epoch's start), its loss and its pictures, and the processor seconds of the epoch, those of
workers included. Of DATA it takes `train` where there is one, else the whole folder.

Without --best the arithmetic is each library's default: eager float32 in the default memory format, and its usual
number of workers. With it: bfloat16 autocast, channels_last, two workers that stay alive. All take momentum 0.9 at a
rate of 0.002 and plain cross-entropy, and look at random windows, half of them mirrored; with --own a peer takes the
looks and the optimiser that are its default instead.
"""

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SIZE, STORED, LR, MOMENTUM, DECAY = 224, 256, 0.002, 0.9, 1e-4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Steps = list[tuple[float, float, int]]  # when a step ended, its loss, its pictures


@dataclass(frozen=True)
class Task:
    """What is trained on what, and how."""

    data: Path
    network: str
    batch: int
    best: bool
    own: bool

    @property
    def train(self) -> Path:
        """The folder of classes."""
        return self.data / "train" if (self.data / "train").is_dir() else self.data

    @property
    def classes(self) -> int:
        return sum(folder.is_dir() for folder in self.train.iterdir())


def autocast(task: Task) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=task.best)


def twin(task: Task) -> nn.Module:
    """The network as torchvision has it."""
    net: nn.Module = importlib.import_module("torchvision").models.get_model(task.network, num_classes=task.classes)
    return net.to(memory_format=torch.channels_last) if task.best else net


def ours(task: Task) -> Callable[[], Steps]:
    """The loop behind `convista train`: the cache is filled first, and nothing is decoded after that."""
    convista, data = importlib.import_module("convista"), importlib.import_module("convista.data")
    records, recipes = importlib.import_module("convista.records"), importlib.import_module("convista.recipe")
    training = importlib.import_module("convista.training")
    scratch = Path(tempfile.mkdtemp())
    cache = data.PixelCache(scratch / "cache", STORED, 3)
    train = data.prepare(data.open_source(task.data), STORED, 3, 0, cache).splits["train"]
    fast = importlib.import_module("convista.tasks.preparing").fast_precision(torch.device("cpu"))
    recipe = recipes.Recipe.of(
        model=task.network, batch=task.batch, epochs=1000, lr=LR, optimizer="momentum", schedule="constant", warmup=0,
        weight_decay=DECAY, label_smoothing=0, precision=fast,
    )  # fmt: skip
    view, net = records.View(SIZE, STORED, 3, MEAN, STD), convista.create(task.network, classes=task.classes)
    job = training.Training(net, train, train, view, recipe, training.Where(scratch))

    def epoch() -> Steps:
        steps, start, before = [], time.perf_counter(), 0.0
        for indices in data.global_batches(len(train), recipe.batch, recipe.seed, job.state.epoch):
            job.step(net, indices)
            now = job.state.loss_sum
            steps.append((time.perf_counter() - start, (now - before) / len(indices), len(indices)))
            before = now
        job.state.epoch, job.state.loss_sum = job.state.epoch + 1, 0.0
        return steps

    return epoch


def learn(task: Task, net: nn.Module, loader: Any, optimizer: Any, update: Callable[[], None]) -> Callable[[], Steps]:
    """The steps of plain PyTorch, which are timm's as well."""
    objective = nn.CrossEntropyLoss()

    def epoch() -> Steps:
        steps, start = [], time.perf_counter()
        net.train()
        for pictures, targets in loader:
            if task.best:
                pictures = pictures.contiguous(memory_format=torch.channels_last)
            with autocast(task):
                loss: Tensor = objective(net(pictures), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            update()
            steps.append((time.perf_counter() - start, loss.item(), len(targets)))
        return steps

    return epoch


def plain(task: Task) -> Callable[[], Steps]:
    """What a tutorial writes: ImageFolder, a DataLoader with two workers, torchvision's transforms."""
    torchvision = importlib.import_module("torchvision")
    own = torchvision.transforms
    looks = [own.Resize(STORED), own.RandomCrop(SIZE), own.RandomHorizontalFlip(), own.ToTensor()]
    pictures = torchvision.datasets.ImageFolder(str(task.train), own.Compose([*looks, own.Normalize(MEAN, STD)]))
    loader: Any = torch.utils.data.DataLoader(
        pictures, task.batch, shuffle=True, num_workers=2, persistent_workers=True
    )
    net = twin(task)
    optimizer = torch.optim.SGD(net.parameters(), LR, MOMENTUM, weight_decay=DECAY, fused=task.best or None)
    return learn(task, net, loader, optimizer, lambda: None)


def timm(task: Task) -> Callable[[], Steps]:
    """The public parts of timm in the order and with the defaults of the train.py in its repository."""
    library, data = importlib.import_module("timm"), importlib.import_module("timm.data")
    name = {"mobilenet_v2": "mobilenetv2_100"}.get(task.network, task.network)
    net: nn.Module = library.create_model(name, pretrained=False, num_classes=task.classes)
    net = net.to(memory_format=torch.channels_last) if task.best else net
    pictures = data.create_dataset("", root=str(task.train.parent), split=task.train.name, is_training=True)
    share = (SIZE / STORED) ** 2
    own = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "color_jitter": 0.4, "interpolation": "random"}
    same = {"scale": (share, share), "ratio": (1.0, 1.0), "color_jitter": None, "interpolation": "bilinear"}
    loader = data.create_loader(
        pictures, (3, SIZE, SIZE), task.batch, is_training=True, device=torch.device("cpu"),
        num_workers=2 if task.best else 4, **(own if task.own else same),
    )  # fmt: skip
    make = importlib.import_module("timm.optim").create_optimizer_v2
    optimizer = make(net, "sgd", lr=LR, weight_decay=2e-5 if task.own else DECAY, momentum=MOMENTUM)
    scheduler, _ = importlib.import_module("timm.scheduler").create_scheduler_v2(optimizer, "step", decay_epochs=10**6)
    updates = iter(range(10**9))
    return learn(task, net, loader, optimizer, lambda: scheduler.step_update(next(updates)))


def fastai(task: Task) -> Callable[[], Steps]:
    """A Learner on ImageDataLoaders as in its quick start. Its own mixed precision asks for CUDA; this one does not."""
    vision = importlib.import_module("fastai.vision.all")
    steps: Steps = []
    begun = [0.0]

    class Follow(vision.Callback):  # type: ignore[misc, name-defined]
        def before_validate(self) -> None:  # nobody else validates here
            raise vision.CancelValidException

        def after_batch(self) -> None:
            steps.append((time.perf_counter() - begun[0], float(self.learn.loss), len(self.learn.yb[0])))

    class BFloat16(vision.Callback):  # type: ignore[misc, name-defined]
        order = 10

        def before_batch(self) -> None:
            self.learn.xb = tuple(x.contiguous(memory_format=torch.channels_last) for x in self.learn.xb)
            self.context = autocast(task)
            self.context.__enter__()  # type: ignore[no-untyped-call]

        def after_pred(self) -> None:
            self.learn.pred = self.learn.pred.float()

        def after_loss(self) -> None:
            self.context.__exit__(None, None, None)

    flips = {} if task.own else {"batch_tfms": vision.Flip()}
    crops = [vision.Resize(SIZE)] if task.own else [vision.Resize(STORED), vision.RandomCrop(SIZE)]
    loaders = vision.ImageDataLoaders.from_folder(
        task.data, train="train", valid="val", bs=task.batch, item_tfms=crops, num_workers=2, **flips
    )
    loaders.train.drop_last = False
    loaders.add_tfms([vision.Normalize.from_stats(MEAN, STD, cuda=False)], "after_batch")
    rate = {} if task.own else {"opt_func": vision.partial(vision.SGD, mom=MOMENTUM), "wd": DECAY, "moms": None}
    learner = vision.Learner(
        loaders,
        twin(task),
        loss_func=nn.CrossEntropyLoss(),
        cbs=[Follow(), *([BFloat16()] if task.best else [])],
        **rate,
    )
    quiet = [learner.no_bar, learner.no_logging]

    def epoch() -> Steps:
        steps.clear()
        begun[0] = time.perf_counter()
        with contextlib.ExitStack() as stack:
            for context in quiet:
                stack.enter_context(context())
            learner.fit(1, lr=LR)
        return list(steps)

    return epoch


LIBRARIES = {"ours": "convista.training", "plain": "torchvision", "timm": "timm", "fastai": "fastai.vision.all"}
PEERS: dict[str, Callable[[Task], Callable[[], Steps]]] = {"ours": ours, "plain": plain, "timm": timm, "fastai": fastai}


def answers(make: Callable[[], Callable[[], Steps]]) -> Iterator[dict[str, Any]]:
    """What is to be told: after the start, and after each line that comes in."""
    start = time.perf_counter()
    epoch = make()
    yield {"seconds": time.perf_counter() - start, "threads": torch.get_num_threads()}
    for _ in sys.stdin:
        before = processor_seconds()
        yield {"steps": epoch(), "processor": processor_seconds() - before}


def processor_seconds() -> float:
    """What this process and its workers, living and dead, have used so far; on Linux."""
    ticks, own = os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])
    stats = [Path(f"/proc/{child.pid}/stat").read_text() for child in multiprocessing.active_children()]
    return own + sum(int(ticked) for stat in stats for ticked in stat.rsplit(")", 1)[1].split()[11:13]) / ticks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=tuple(PEERS))
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--own", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    told = os.fdopen(os.dup(1), "w")  # libraries may print what they like, but elsewhere
    os.dup2(2, 1)
    torch.manual_seed(0)
    task = Task(options.data, options.network, options.batch, options.best, options.own)
    importlib.import_module(LIBRARIES[options.peer])  # which is not timed
    with memory(options.peer):
        for answer in answers(lambda: PEERS[options.peer](task)):
            print(json.dumps(answer), file=told, flush=True)


def memory(peer: str) -> contextlib.AbstractContextManager[None]:
    """The surroundings that each library gives its training by itself."""
    if peer != "ours":
        return contextlib.nullcontext()
    devices = importlib.import_module("convista.devices")
    kept: contextlib.AbstractContextManager[None] = devices.kept_memory(torch.device("cpu"))
    return kept


if __name__ == "__main__":
    main()
