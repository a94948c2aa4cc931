"""The training loop: one verb a line, and nothing in it that a resumed run would do differently."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from convista.data import Normalise, Pictures, eval_batches, global_batches, steps_in_epoch, train_view
from convista.errors import DivergedError, InputError, InterruptedRunError, RunError
from convista.files import write_atomically
from convista.records import Epoch, Recipe, View
from convista.training.distributed import World, share_statistics
from convista.training.optim import default_lr, learning_rate, make_optimizer

__all__ = ["Progress", "State", "Training", "logits_of"]

STRIKES = 3  # losses that are not a number before the run is given up


@dataclass
class State:
    """Where a run is; together with the weights and the optimiser's memory it is the checkpoint."""

    epoch: int = 0
    batch: int = 0  # the next global batch of the epoch
    lr_scale: float = 1.0
    strikes: int = 0
    loss_sum: float = 0.0
    hits: float = 0.0
    seen: int = 0
    best: tuple[float, float] = (-1.0, -math.inf)  # validation top-1, minus its loss
    best_epoch: int = -1
    history: list[Epoch] = field(default_factory=list)


@dataclass
class Progress:
    """What a progress bar needs to know after a step."""

    epoch: int
    done: int
    total: int
    loss: float
    pictures_per_second: float


@dataclass
class Training:
    """A network, what it learns from, and where its run folder is. `run` goes from the last checkpoint to the end."""

    net: nn.Module
    train: Pictures
    val: Pictures
    view: View
    recipe: Recipe
    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    world: World = field(default_factory=World)
    say: Callable[[str], None] = print
    show: Callable[[Progress], None] = lambda progress: None
    stopped: Callable[[], bool] = lambda: False
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.recipe.batch < self.world.size:
            raise InputError(f"A batch of {self.recipe.batch} cannot be shared by {self.world.size} processes.")
        self.state = State()
        self.net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.world.size > 1:
            share_statistics(self.net)
        self.optimizer = make_optimizer(self.net, self.recipe)
        self.normalise = Normalise.of(self.view, self.device)
        self.peak = default_lr(self.recipe) if self.recipe.lr is None else self.recipe.lr
        self.steps = steps_in_epoch(len(self.train), self.recipe.batch)
        self._last_save, self._save_seconds = time.monotonic(), 0.0

    def run(self) -> list[Epoch]:
        """Trains until the last epoch or until patience is out. Returns the history.

        Raises `InterruptedRunError` when asked to stop, `DivergedError` at the third loss that is not a number.
        """
        net = DistributedDataParallel(self.net, broadcast_buffers=False) if self.world.size > 1 else self.net
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            while self.state.epoch < self.recipe.epochs and not self._out_of_patience():
                self._epoch(net)
        return self.state.history

    def _epoch(self, net: nn.Module) -> None:
        state, started, fresh = self.state, time.monotonic(), self.state.seen
        batches = global_batches(len(self.train), self.recipe.batch, self.recipe.seed, state.epoch)
        for indices in batches[state.batch :]:
            self.step(net, indices)
            state.batch += 1
            seconds = time.monotonic() - started
            self.show(self._progress((state.seen - fresh) / seconds))
            self._checkpoint_when_due()
        trained = time.monotonic() - started
        self._close_epoch((state.seen - fresh) / trained, started)

    def step(self, net: nn.Module, indices: NDArray[np.int64]) -> None:
        """One global batch: look, guess, judge, push. A loss or gradient that is not finite leaves no trace."""
        state, step = self.state, self.state.epoch * self.steps + self.state.batch
        torch.manual_seed(self._generator_seed(step))
        lr = self._set_lr(step)
        before = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        mine = indices[self.world.rank :: self.world.size]
        pictures, targets = train_view(self.train, mine, self.view, self.recipe.seed, state.epoch)
        targets = targets.to(self.device)
        net.train()
        with self.arithmetic():
            logits = net(self.normalise(pictures.to(self.device)))
        loss = self._loss(logits, targets, len(indices))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._clip()
        total, hits = self.world.total(loss.item() / self.world.size, float((logits.argmax(1) == targets).sum()))
        if not (math.isfinite(total) and math.isfinite(norm)):
            self._strike(before, lr)
            return
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        state.loss_sum += total * len(indices)
        state.hits += hits
        state.seen += len(indices)

    def _loss(self, logits: Tensor, targets: Tensor, count: int) -> Tensor:
        """This process's part of the batch's mean cross-entropy, times the world's size: DDP averages over it."""
        smoothing = self.recipe.label_smoothing
        total = cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=smoothing)
        return total * (self.world.size / count)

    def _clip(self) -> float:
        limit = self.recipe.clip or math.inf
        return float(nn.utils.clip_grad_norm_(self.net.parameters(), limit))

    def _strike(self, before: dict[str, Tensor], lr: float) -> None:
        """Back to the last good step: its weights are still there, its statistics are put back; half the rate."""
        state = self.state
        for name, buffer in self.net.named_buffers():
            buffer.copy_(before[name])
        self.optimizer.zero_grad(set_to_none=True)
        state.strikes += 1
        state.lr_scale /= 2
        where = f"epoch {state.epoch + 1}, step {state.batch + 1}"
        if state.strikes >= STRIKES:
            raise DivergedError(
                f"The loss was not a number for the {STRIKES}rd time ({where}). The learning rate was {lr:.3g}: start "
                f"again with a smaller one (--lr {self.peak / 10:.1g})."
            )
        self._tell(f"{where}: the loss is not a number. Back to the last good step, with half the learning rate.")

    def _close_epoch(self, speed: float, started: float) -> None:
        state = self.state
        logits = logits_of(self.net, self.val, self.view, self.device, self.world, self.arithmetic, self.recipe.batch)
        targets = self.val.targets
        ranks = (logits > logits[np.arange(len(targets)), targets][:, None]).sum(1)
        loss = float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets)))
        last = state.epoch * self.steps + state.batch - 1
        row = Epoch(
            epoch=state.epoch + 1,
            lr=self.peak * state.lr_scale * learning_rate(last, self.steps * self.recipe.epochs, self._warmup()),
            train_loss=state.loss_sum / max(1, state.seen),
            train_top1=state.hits / max(1, state.seen),
            val_loss=loss,
            val_top1=float((ranks == 0).mean()),
            val_top5=float((ranks < 5).mean()),
            pictures_per_second=round(speed, 1),
            seconds=round(time.monotonic() - started, 3),
        )
        state.history.append(row)
        state.epoch, state.batch = state.epoch + 1, 0
        state.loss_sum, state.hits, state.seen = 0.0, 0.0, 0
        self._keep_if_best(row)
        self.save()
        self._tell(_line(row, self.recipe.epochs))

    def _keep_if_best(self, row: Epoch) -> None:
        quality = (row.val_top1, -row.val_loss if math.isfinite(row.val_loss) else -math.inf)
        if quality > self.state.best:
            self.state.best, self.state.best_epoch = quality, row.epoch
            if self.world.first:
                weights = {name: tensor.cpu().contiguous() for name, tensor in self.net.state_dict().items()}
                write_atomically(self.folder / "model.safetensors", to_safetensors(weights))

    def _out_of_patience(self) -> bool:
        patience, state = self.recipe.patience, self.state
        return patience > 0 and bool(state.history) and state.epoch - state.best_epoch >= patience

    def _checkpoint_when_due(self) -> None:
        stop = self.world.total(float(self.stopped()))[0] > 0
        due = time.monotonic() - self._last_save > max(self.checkpoint_seconds, 20 * self._save_seconds)
        if stop or (due and self.state.batch < self.steps):
            self.save()
        if stop:
            raise InterruptedRunError(
                f"Stopped in epoch {self.state.epoch + 1} of {self.recipe.epochs}, everything is saved. "
                f"Go on with: convista train --resume {self.folder}"
            )

    def save(self) -> None:
        """Writes `last.ckpt` and `metrics.csv`, whole or not at all."""
        if not self.world.first:
            return
        start = time.monotonic()
        buffer = io.BytesIO()
        content = {"state": asdict(self.state), "net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(content, buffer)
        write_atomically(self.folder / "last.ckpt", buffer.getvalue())
        write_atomically(self.folder / "metrics.csv", _csv(self.state.history))
        self._last_save = time.monotonic()
        self._save_seconds = self._last_save - start

    def load(self) -> None:
        """Goes back to the last checkpoint, if there is one. Raises `RunError` when it cannot be read."""
        path = self.folder / "last.ckpt"
        if not path.exists():
            return
        try:
            content: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            history = [Epoch(**row) for row in content["state"].pop("history")]
            self.state = State(**content["state"], history=history)
            self.state.best = (self.state.best[0], self.state.best[1])
            self.net.load_state_dict(content["net"])
            self.optimizer.load_state_dict(content["optimizer"])
        except Exception as error:  # a damaged archive fails in many ways
            raise RunError(f"{path} is not a checkpoint of this network ({error}). Start a new run.") from error

    def arithmetic(self) -> torch.autocast:
        """The context in which the network computes: bfloat16 where the recipe says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _set_lr(self, step: int) -> float:
        share = learning_rate(step, self.steps * self.recipe.epochs, self._warmup())
        lr = self.peak * self.state.lr_scale * share
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _warmup(self) -> int:
        return min(round(self.recipe.warmup * self.steps), self.steps * self.recipe.epochs // 4)

    def _generator_seed(self, step: int) -> int:
        """Dropout is drawn from (seed, step, process), so that no generator state needs to be saved."""
        return (self.recipe.seed * 1_000_003 + step) * 4099 + self.world.rank

    def _progress(self, speed: float) -> Progress:
        done = self.state.batch
        return Progress(self.state.epoch + 1, done, self.steps, self.state.loss_sum / max(1, self.state.seen), speed)

    def _tell(self, text: str) -> None:
        if self.world.first:
            self.say(text)


def logits_of(
    net: nn.Module,
    pictures: Pictures,
    view: View,
    device: torch.device,
    world: World | None = None,
    arithmetic: Callable[[], Any] | None = None,
    batch: int = 64,
) -> NDArray[np.float64]:
    """What the network says to every picture, in their order: (n, classes). Processes share the work."""
    world = world or World()
    normalise, parts = Normalise.of(view, device), []
    net.eval()
    with torch.inference_mode():
        for indices, pixels, _ in eval_batches(pictures, view, batch, world.rank, world.size):
            with arithmetic() if arithmetic else torch.autocast(device.type, enabled=False):
                logits = net(normalise(pixels.to(device)))
            parts.append((indices, logits.double().cpu().numpy()))
    everything = [part for share in world.gather(parts) for part in share]
    order = np.argsort(np.concatenate([indices for indices, _ in everything]))
    return np.asarray(np.concatenate([logits for _, logits in everything])[order])


def _line(row: Epoch, epochs: int) -> str:
    return (
        f"epoch {row.epoch:>3}/{epochs}  train loss {row.train_loss:.4f} top-1 {row.train_top1:.3f}  "
        f"val loss {row.val_loss:.4f} top-1 {row.val_top1:.3f}  {row.pictures_per_second:,.0f} images/s"
    )


def _csv(history: list[Epoch]) -> str:
    names = list(Epoch.__dataclass_fields__)
    rows = [",".join(repr(value) for value in asdict(row).values()) for row in history]
    return "\n".join([",".join(names), *rows]) + "\n"
