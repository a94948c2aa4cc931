"""The training loop: one verb a line, and nothing in it that a resumed run would do differently."""

from __future__ import annotations

import io
import math
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from convista.data import (
    Ahead,
    Augmentation,
    Mixing,
    Normalise,
    Pictures,
    Resident,
    global_batches,
    read_policy,
    steps_in_epoch,
)
from convista.errors import DivergedError, InputError, InterruptedRunError, RunError
from convista.files import sweep, write_atomically
from convista.models import save_weights
from convista.recipe import Recipe
from convista.records import Epoch, Preprocessing, View
from convista.training.arithmetic import Arithmetic, compiled
from convista.training.average import Average
from convista.training.distributed import World, share_statistics
from convista.training.judge import logits_of
from convista.training.metrics import figures, softmax
from convista.training.objective import Objective, balancing_weights
from convista.training.optim import default_lr, make_optimizer, with_defaults
from convista.training.recalibrate import recalibrate
from convista.training.schedules import rate
from convista.training.stages import Thaw
from convista.training.state import Console, Progress, State, Where, epoch_line, epochs_csv, figure
from convista.training.undo import Undo

__all__ = ["Training", "check_shares"]

STRIKES = 3  # losses that are not a number before the run is given up


def check_shares(pictures: int, recipe: Recipe, world: World) -> None:
    """Raises `InputError` where a part of a batch would be smaller than the number of processes."""
    least = pictures // steps_in_epoch(pictures, recipe.batch)
    if least // min(recipe.accumulate, max(1, least // 2)) < world.size:
        parts = f" in {recipe.accumulate} parts" if recipe.accumulate > 1 else ""
        raise InputError(f"A batch of {min(least, recipe.batch)}{parts} cannot be shared by {world.size} processes.")


@dataclass
class Training:
    """A network, what it learns from and how. `load` goes to the last checkpoint, `run` from there to the end."""

    net: nn.Module
    train: Pictures
    val: Pictures
    view: View
    recipe: Recipe
    where: Where
    console: Console = field(default_factory=Console)
    thaw: Thaw | None = None  # where a part of the network learns only; all of it if not given
    verb: ClassVar[str] = "train"
    of_pictures: ClassVar[bool] = True  # not of what was made of them

    def __post_init__(self) -> None:
        self.world, self.device, self.state, recipe = self.where.world, self.where.device, State(), self.recipe
        self.steps = steps_in_epoch(len(self.train), self.recipe.batch)
        check_shares(len(self.train), recipe, self.world)
        self.net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.thaw is not None:
            self.thaw(self.net, recipe.epochs)  # what never learns is no matter of the optimizer's
        if self.world.size > 1:
            share_statistics(self.net)
        if hasattr(self.net, "preprocessing"):  # it travels with the weights
            view = self.view
            setattr(self.net, "preprocessing", Preprocessing(view.image, view.stored, view.mean, view.std))  # noqa: B010
        self.auxiliary: dict[str, float] = getattr(getattr(self.net, "spec", None), "auxiliary", {})
        self.optimizer = make_optimizer(self.net, self.recipe)
        self.average = self.averaged()
        self.undo = Undo(self.net, self.optimizer, self.average.tensors if self.average else ())
        self.state.parts = self.recipe.accumulate
        self.upcoming: NDArray[np.int64] | None = None  # the batch after the one at hand
        self.normalise, self.arithmetic = (
            Normalise.of(self.view, self.device),
            Arithmetic(recipe.precision, self.device),
        )
        self.augment = Augmentation(
            read_policy(recipe.augment).allowing(recipe.crop, recipe.flip),
            self.view,
            recipe.seed,
            Mixing(recipe.mixup, recipe.cutmix, recipe.balanced),
            Resident.of(self.train, self.device) if self.device.type == "cuda" and self.of_pictures else None,
        )
        self.ahead = Ahead(partial(self.augment, self.train), self.device)
        self.objective = Objective(recipe.label_smoothing, recipe.focal, self._class_weights())
        self.peak = float(with_defaults(self.recipe).lr or 0.0)
        self._last_save, self._save_seconds = time.monotonic(), 0.0

    def averaged(self) -> Average | None:
        """What follows the weights, where anything does."""
        return Average(self.net, self.recipe.ema) if self.recipe.ema else None

    def run(self) -> list[Epoch]:
        """Trains until the last epoch or until patience is out. Returns the history.

        Raises `InterruptedRunError` when asked to stop, `DivergedError` at the third loss that is not a number.
        """
        net = compiled(self.net, self.device) if self.recipe.compile else self.net
        net = DistributedDataParallel(net) if self.world.size > 1 else net
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            while self.state.epoch < self.recipe.epochs and not self._out_of_patience():
                self._train_epoch(net)
                self._close_epoch()
        return self.state.history

    def begin(self, row: Epoch) -> None:
        """What the network is before the first epoch counts as the best so far; its weights are in the run folder.

        Its loss in training is left out: that of what was learned before is another measure.
        """
        self.state.history = [replace(row, epoch=0, train_loss=math.nan, train_top1=math.nan)]
        self.state.best = (row.val_top1, -row.val_loss)

    def _train_epoch(self, net: nn.Module) -> None:
        state = self.state
        batches = self.batches()
        for number, indices in enumerate(batches[state.batch :], state.batch + 1):
            start = time.monotonic()
            self.upcoming = batches[number] if number < len(batches) else None
            self.step(net, indices)
            state.batch += 1
            state.seconds += time.monotonic() - start
            self._show()
            self._checkpoint_when_due()

    def batches(self) -> list[NDArray[np.int64]]:
        """The epoch's global batches."""
        classes = self.train.targets if self.recipe.balanced else None
        return global_batches(len(self.train), self.recipe.batch, self.recipe.seed, self.state.epoch, classes)

    def step(self, net: nn.Module, indices: NDArray[np.int64]) -> None:
        """One global batch: look, guess, judge, push; or one step back where the loss or a gradient is no number."""
        state, step = self.state, self.state.epoch * self.steps + self.state.batch
        self._set_lr(step)
        self.undo.note()
        loss, hits = self._gradients(net, indices)
        norm = self.arithmetic.clip(self.net, self.optimizer, self.recipe.clip)
        total, hits = self.world.total(loss / self.world.size, hits)
        if math.isfinite(total) and math.isfinite(norm):
            self.arithmetic.push(self.optimizer)
            if self.average is not None:
                self.average.follow(self.net, step)
            self.undo.accept()
            state.loss_sum, state.hits = state.loss_sum + total * len(indices), state.hits + hits
            state.seen += len(indices)
        elif not (math.isfinite(total) and self.arithmetic.overflowed(norm)):
            self._strike()
        self.arithmetic.adapt()
        self.optimizer.zero_grad(set_to_none=True)

    def _gradients(self, net: nn.Module, indices: NDArray[np.int64]) -> tuple[float, float]:
        """Loss and hits of this process's pictures, and their gradients; in more parts where memory runs out."""
        while True:
            torch.manual_seed(self._generator_seed(self.state.epoch * self.steps + self.state.batch))
            with suppress(torch.OutOfMemoryError):
                return self._accumulated(net, self._parts(indices), len(indices))
            self._split(len(indices) // self.world.size)

    def _parts(self, indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """This process's share of each part of a batch; the parts are the same for any number of processes."""
        parts = np.array_split(indices, min(self.state.parts, len(indices) // 2))
        return [part[self.world.rank :: self.world.size] for part in parts]

    def _accumulated(self, net: nn.Module, parts: list[NDArray[np.int64]], count: int) -> tuple[float, float]:
        """The parts one after another; only behind the last one do processes share their gradients."""
        loss, hits = 0.0, 0.0
        net.train()
        if self.thaw is not None:
            self.thaw(self.net, self.state.epoch)
        following = [*parts[1:], None if self.upcoming is None else self._parts(self.upcoming)[0]]
        for part, after in zip(parts, following, strict=True):
            shared = part is parts[-1] or not isinstance(net, DistributedDataParallel)
            with nullcontext() if shared else net.no_sync():  # type: ignore[operator]
                more, right = self._backward(net, part, count, after)
            loss, hits = loss + more, hits + right
        return loss, hits

    def _backward(
        self, net: nn.Module, indices: NDArray[np.int64], count: int, following: NDArray[np.int64] | None = None
    ) -> tuple[float, float]:
        """Looks at pictures, guesses, judges, and adds to the gradients. Returns the loss's share and the hits."""
        batch = self.ahead(indices, self.state.epoch)
        if following is not None:
            self.ahead.begin(following, self.state.epoch)
        with self.arithmetic():
            x = self.normalise(batch.pictures)
            answers = net(x, answers=True) if self.auxiliary else {"": net(x)}
        share = self.world.size / count  # of the batch's mean; DDP averages over the processes
        losses = {name: self.objective(logits, batch) * share for name, logits in answers.items()}
        *_, (last, logits) = answers.items()
        self.arithmetic.backward(losses[last] + sum(weight * losses[name] for name, weight in self.auxiliary.items()))
        return losses[last].item(), float((logits.argmax(1) == batch.targets).sum())

    def _split(self, pictures: int) -> None:
        """Out of memory: twice as many parts from here on. Raises `InputError` when they cannot be smaller."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.world.size > 1 or self.state.parts > pictures // 4:
            who, rank, size = "There is", self.world.rank, self.world.size
            if size > 1:  # the others wait for this one, and cannot be told to split theirs
                who = f"On process {rank} of {size} (counted from 0) there is"
            raise InputError(
                f"{who} not enough memory for {pictures // self.state.parts} pictures at once. Take a smaller "
                f"--batch or --image, a smaller network (convista pick), or --accumulate {2 * self.state.parts}"
                + (", the same for all processes." if size > 1 else ".")
            )
        self.state.parts *= 2
        self.undo.again()  # statistics of normalisation have seen some parts
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.tell(f"Out of memory: each batch passes in {self.state.parts} parts from here on.")

    def _class_weights(self) -> torch.Tensor | None:
        if not self.recipe.class_weights:
            return None
        return balancing_weights(self.train.targets, int(self.train.targets.max()) + 1).to(self.device)

    def _strike(self) -> None:
        """Undoes the last step, which led here, and halves the rate; the third time gives up."""
        state = self.state
        self.undo.back()
        state.strikes += 1
        state.lr_scale /= 2
        where = f"epoch {state.epoch + 1}, step {state.batch + 1}"
        if state.strikes >= STRIKES:
            less = min(self.peak / 10, default_lr(self.recipe))
            raise DivergedError(
                f"The loss was not a number for the {STRIKES}rd time ({where}, peak learning rate "
                f"{figure(self.peak, 3)}). Start again with less: --lr {figure(less, 1)}."
            )
        self.tell(f"{where}: the loss is not a number. Back to the last good step, with half the learning rate.")

    def _close_epoch(self) -> None:
        state, start = self.state, time.monotonic()
        if self.recipe.recalibrate:
            recalibrate(self.kept, self.train, self.view, self.device, self.world, self.arithmetic)
        found = self.judged()
        row = Epoch(
            epoch=state.epoch + 1,
            lr=self._set_lr(state.epoch * self.steps + self.steps - 1),
            train_loss=state.loss_sum / max(1, state.seen),
            train_top1=state.hits / max(1, state.seen),
            val_loss=found["loss"],
            val_top1=found["top1"],
            val_top5=found["top5"],
            pictures_per_second=round(len(self.train) / state.seconds, 1),
            seconds=round(state.seconds + time.monotonic() - start, 3),
        )
        state.history.append(row)
        state.epoch, state.batch = state.epoch + 1, 0
        state.loss_sum, state.hits, state.seen, state.seconds = 0.0, 0.0, 0, 0.0
        if math.isfinite(row.val_loss):  # else the last step may be the one to undo
            self.undo.forget()
        self.keep(row)
        self.save()
        self.where.watch(state.history)
        self.tell(self.line(row))

    def judged(self) -> dict[str, float]:
        """The figures of validation: loss, top1, top5."""
        how = self.arithmetic if self.thaw is None else None  # the head to compare with was judged in full precision
        logits = logits_of(self.kept, self.val, self.view, self.device, self.world, how, self.recipe.views)
        return figures(softmax(logits), self.val.targets)

    def line(self, row: Epoch) -> str:
        """What is said when an epoch ends."""
        return epoch_line(row, self.recipe.epochs)

    @property
    def kept(self) -> nn.Module:
        """The network that is judged and kept: the running average where there is one."""
        return self.net if self.average is None else self.average.net

    def keep(self, row: Epoch) -> None:
        """Writes the weights down, if they are the best so far."""
        quality = (row.val_top1, -row.val_loss) if math.isfinite(row.val_loss) else (-1.0, -math.inf)
        if quality > self.state.best:
            self.state.best, self.state.best_epoch = quality, row.epoch
            if self.world.first:
                save_weights(self.kept, self.where.folder / "model.safetensors")

    def _out_of_patience(self) -> bool:
        patience, state = self.recipe.patience, self.state
        return patience > 0 and bool(state.history) and state.epoch - state.best_epoch >= patience

    def _checkpoint_when_due(self) -> None:
        stop = self.world.total(float(self.console.stopped()))[0] > 0
        waited = time.monotonic() - self._last_save
        due = waited > max(self.where.checkpoint_seconds, 20 * self._save_seconds)
        if stop or (due and self.state.batch < self.steps):
            self.save()
        if stop:
            raise InterruptedRunError(
                f"Stopped in epoch {self.state.epoch + 1} of {self.recipe.epochs}, everything is saved. "
                f"Go on with: convista {self.verb} --resume {self.where.folder}"
            )

    def save(self) -> None:
        """Writes `metrics.csv` and `last.ckpt`, each whole or not at all."""
        if not self.world.first:
            return
        start, buffer = time.monotonic(), io.BytesIO()
        content = {
            "state": asdict(self.state),
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "earlier": self.undo.earlier,
            "arithmetic": self.arithmetic.state(),
            "average": None if self.average is None else self.average.state(),
        }
        torch.save(content, buffer)
        write_atomically(self.where.folder / "metrics.csv", epochs_csv(self.state.history))
        write_atomically(self.where.folder / "last.ckpt", buffer.getvalue())
        self._last_save = time.monotonic()
        self._save_seconds = self._last_save - start

    def load(self) -> None:
        """Goes back to the last checkpoint, if there is one. Raises `RunError` when it cannot be read."""
        path = self.where.folder / "last.ckpt"
        saved = self.world.once(self._saved)  # only the first process needs to see the run folder
        if saved is None:
            return
        try:
            content: dict[str, Any] = torch.load(io.BytesIO(saved), map_location=self.device, weights_only=True)
            history = [Epoch(**row) for row in content["state"].pop("history")]
            best = tuple(content["state"].pop("best"))
            self.state = State(**content["state"], best=(best[0], best[1]), history=history)
            self.net.load_state_dict(content["net"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.undo.earlier = content["earlier"]
            self.arithmetic.load(content.get("arithmetic") or {})
            if self.average is not None:
                self.average.load(content["average"])
        except Exception as error:  # a damaged archive fails in many ways
            raise RunError(f"{path} is not a checkpoint of this network ({error}). Start a new run.") from error

    def _saved(self) -> bytes | None:
        path = self.where.folder / "last.ckpt"
        sweep(self.where.folder)
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise RunError(f"{path} cannot be read ({error}).") from None

    def _set_lr(self, step: int) -> float:
        steps = self.steps * self.recipe.epochs
        warmup = round(min(self.recipe.warmup * self.steps, steps / 4))
        losses = [row.val_loss for row in self.state.history if row.epoch]  # those of its own steps
        lr = self.peak * self.state.lr_scale * rate(self.recipe.schedule, step, steps, warmup, losses)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        return lr

    def _generator_seed(self, step: int) -> int:
        """Dropout is drawn from (seed, step, process), so that no generator state needs to be saved."""
        return ((self.recipe.seed * 1_000_003 + step) * 4099 + self.world.rank) % 2**63

    def _show(self) -> None:
        state = self.state
        if self.world.first:
            loss, speed = state.loss_sum / max(1, state.seen), state.seen / max(1e-9, state.seconds)
            done, epochs = state.epoch * self.steps + state.batch, self.recipe.epochs
            self.console.show(Progress(state.epoch + 1, epochs, done, self.steps * epochs, loss, speed))

    def tell(self, text: str) -> None:
        """Says it, in one of the processes."""
        if self.world.first:
            self.console.say(text)
