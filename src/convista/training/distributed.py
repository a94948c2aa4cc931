"""One process or many: the world as `torchrun` describes it, and batch statistics over all of it."""

from __future__ import annotations

import gc
import os
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convista.errors import ConvistaError, InputError, InterruptedRunError

__all__ = ["GlobalBatchNorm", "World", "check_statistics", "joined", "launch_of_torchrun", "share_statistics"]

T = TypeVar("T")
PATIENCE = timedelta(hours=12)  # the others wait while the first process reads the pictures
GATHERING = timedelta(minutes=10)  # until all have come
ANSWERING = timedelta(seconds=30)  # of a store that is there already
LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|process group", re.IGNORECASE)


@dataclass(frozen=True)
class World:
    """This process's number and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """The sums of each value over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return [float(value) for value in sums]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their numbers."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def in_order(self, rows: Tensor, count: int) -> Tensor:
        """Rows (n, …) of this process's pictures, every `size`-th of a batch of `count` -> those of all, (count, …).

        What flows back is the sum of what flows back in each process, to each its own rows.
        """
        if self.size == 1:
            return rows
        whole = rows.new_zeros(count, *rows.shape[1:])
        whole[self.rank :: self.size] = rows
        return _total(whole)

    def share(self, value: T) -> T:
        """The first process's value, in every process."""
        if self.size == 1:
            return value
        box = [value if self.first else None]
        dist.broadcast_object_list(box)
        return box[0]  # type: ignore[return-value]

    def once(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, in every process; what it raises there is raised everywhere."""
        return self._agreed(work, self.first)

    def together(self, work: Callable[[], T]) -> T:
        """What `work` gives in this process; where it fails in any, all of them raise."""
        return self._agreed(work, True, own=True)

    def _agreed(self, work: Callable[[], T], mine: bool, own: bool = False) -> T:
        if self.size == 1:
            return work()
        answer, failure = None, None
        try:
            answer = work() if mine else None
        except ConvistaError as error:
            failure = error
        told = failure and (type(failure), str(failure), platform.node())
        for rank, other in enumerate(self.gather(told) if own else [self.share(told)]):
            if other is not None:
                kind, text, host = other
                raise failure or _told(kind, text, host, rank)
        return answer if own else self.share(answer)  # type: ignore[return-value]

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(verb: str = "train") -> Iterator[World]:
    """The world that `RANK` and `WORLD_SIZE` describe (as set by torchrun), joined on entry and left on exit.

    `verb` goes on with what was lost. Raises `InterruptedRunError` where another process is.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        rank = dist.get_rank() if dist.is_initialized() else 0
        yield World(rank, dist.get_world_size() if dist.is_initialized() else 1)
        return
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE, **_meeting(int(os.environ.get("RANK", "0")), size))
        yield World(dist.get_rank(), size)
        gc.collect()  # DDP's reducers must go before the group that they talk through
        dist.barrier()  # and no process leaves while another still works
    except RuntimeError as error:  # gloo and NCCL have no kind of their own for it
        if not LOST.search(str(error)):
            raise
        raise InterruptedRunError(
            "Another process of this job was lost. Everything up to the last checkpoint is saved. torchrun with "
            f"--max-restarts goes on by itself; else go on with: convista {verb} --resume RUN"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _meeting(rank: int, size: int) -> dict[str, Any]:
    """Where the processes find each other: under `torchrun`, a place of its own for each of its restarts.

    torchrun keeps its store over restarts, and what the processes before left there (such as their addresses) would
    mislead the next. The first process draws a token and answers each other one that has come with a fresh number.
    """
    store = _store_of_torchrun(GATHERING, size)
    if store is None:
        return {}
    token = uuid.uuid4().hex
    if rank:
        number = token
        store.set(f"convista/hello/{rank}", number)
        token = store.get(f"convista/answer/{number}").decode()
        store.set(f"convista/heard/{token}/{rank}", "")
    for other in () if rank else range(1, size):
        number, deadline = "", time.monotonic() + GATHERING.total_seconds()
        while not store.check([f"convista/heard/{token}/{other}"]):
            now = store.get(f"convista/hello/{other}").decode()
            if now != number:
                store.set(f"convista/answer/{now}", token)
                number = now
            if time.monotonic() > deadline:
                raise RuntimeError(f"process {other} left the process group before it began")
            time.sleep(0.01)
    store.set_timeout(PATIENCE)
    prefixed = dist.PrefixStore(token, store)  # type: ignore[attr-defined]
    return {"store": prefixed, "rank": rank, "world_size": size}


def launch_of_torchrun() -> str:
    """What all tries that one `torchrun` makes of its command have in common, and no other `torchrun` shares.

    It lies in the store that torchrun keeps as long as it lives. Nothing where there is no such store.
    """
    try:
        store = _store_of_torchrun(ANSWERING)
        return "" if store is None else str(store.compare_set("convista/launch", "", uuid.uuid4().hex).decode())
    except RuntimeError:  # what the environment tells of is gone, or was never there
        return ""


def _store_of_torchrun(patience: timedelta, size: int | None = None) -> Any:
    """The store of the `torchrun` that has started this process; None where it shares none."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(host, port, size, is_master=False, timeout=patience)  # type: ignore[attr-defined]


def _told(kind: type[ConvistaError], text: str, host: str, rank: int) -> ConvistaError:
    """Another process's error, as this one raises it."""
    error = kind.__new__(kind)
    error.args = (text if rank == 0 else f"Process {rank} on {host}: {text}",)
    return error


class _Total(torch.autograd.Function):
    """The sum over all processes; what flows back is the sum of what flows back in each."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _total(values: Tensor) -> Tensor:
    return _Total.apply(values)  # type: ignore[no-any-return]


class _Global(_BatchNorm):
    """The forward pass of batch normalisation with the statistics of the whole world's batch, for any kind of map."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, …) -> (N, C, …)."""
        if not self.training:
            return super().forward(x)
        places, column = (0, *range(2, x.dim())), (1, -1, *(1 for _ in x.shape[2:]))
        with torch.autocast(x.device.type, enabled=False):
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            count = wide.new_full((wide.shape[1],), wide.numel() / wide.shape[1])
            sums = torch.cat([wide.sum(places), count]).double()
            totals = _total(sums)
            n = totals[self.num_features]
            mean = (totals[: self.num_features] / n).to(wide.dtype)
            centred = wide - mean.view(column)
            variance = (_total(centred.square().sum(places).double()) / n).to(wide.dtype)
            scale = torch.rsqrt(variance + self.eps)
            scale = scale if self.weight is None else self.weight * scale
            self._track(mean.detach(), variance.detach(), float(n.detach()))
            y = centred * scale.view(column)
            return (y if self.bias is None else y + self.bias.view(column)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = 1 / (1 + int(self.num_batches_tracked)) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (n / max(1.0, n - 1)), momentum)
        self.num_batches_tracked.add_(1)


class GlobalBatchNorm(_Global, nn.BatchNorm2d):
    """Batch normalisation with the statistics of the whole world's batch, on any device.

    torch's `SyncBatchNorm` needs a GPU; this one lets several CPU processes compute what a single one would.
    """


class _GlobalBatchNorm1d(_Global, nn.BatchNorm1d):
    """The same for (N, C) and (N, C, L)."""


class _GlobalBatchNormAct2d(GlobalBatchNorm):
    """The same for timm's normalisation with its activation inside."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return, operator]


GLOBAL = {
    "torch.nn.modules.batchnorm.BatchNorm1d": _GlobalBatchNorm1d,
    "torch.nn.modules.batchnorm.BatchNorm2d": GlobalBatchNorm,
    "timm.layers.norm_act.BatchNormAct2d": _GlobalBatchNormAct2d,  # by name: timm need not be there
}


def share_statistics(net: nn.Module) -> None:
    """Makes every batch normalisation of `net` use the batch of all processes; names and weights stay.

    Raises what `check_statistics` raises.
    """
    check_statistics(net)
    for module in net.modules():
        if _alone(module):
            module.__class__ = GLOBAL[_kind(module)]


def check_statistics(net: nn.Module) -> None:
    """Raises `InputError` where a batch normalisation of `net` would make several processes learn what one does not."""
    for name, module in net.named_modules():
        if not _alone(module):
            continue
        if _kind(module) not in GLOBAL:
            why = "is not one that can be given the batch of all processes"
        elif module.running_mean is None:
            why = "keeps no running statistics, so it judges pictures by those that happen to be in the same process"
        else:
            continue
        raise InputError(
            f"Several processes would not learn what one does: layer {name or '(all)'} of kind {type(module).__name__} "
            f"{why}. Train on one process, or use torch.nn.BatchNorm2d with running statistics there."
        )


def _alone(module: nn.Module) -> bool:
    """Whether a module takes statistics of this process's pictures only."""
    return isinstance(module, _BatchNorm) and not isinstance(module, _Global | nn.SyncBatchNorm)


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
