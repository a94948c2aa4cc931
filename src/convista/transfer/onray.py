"""`convista.ray_features`: the same features, computed by the machines of a Ray cluster."""

from __future__ import annotations

import os
import time
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

from convista.data import check_data
from convista.devices import pick_device
from convista.errors import InputError, RunError
from convista.feature_recipes import FeatureRecipe
from convista.files import shown
from convista.tasks.preparing import fast_precision
from convista.training import Console
from convista.transfer.gather import Arrivals, gathered_table
from convista.transfer.parts import Errand, Part, Slice, work
from convista.transfer.pretrained import pretrained
from convista.transfer.table import FeatureTable, written
from convista.transfer.trunk import Trunk

__all__ = ["RayWorkers", "ray_features"]

TRIES = 3  # further ones, of a task whose worker died
PATIENCE = 60.0  # seconds without any machine that could work
A_GPU = 0.5  # of it for a task: one reads while the other computes

Folder = str | os.PathLike[str]


def ray_features(
    model: Folder,
    data: Folder,
    *,
    weights: Folder | None = None,
    out: Folder | None = None,
    tasks: int | None = None,
    console: Console | None = None,
    **words: Any,
) -> FeatureTable:
    """`convista.features` on a Ray cluster, or on this machine where there is none; at most `tasks` slices at a time.

    The words and the result are those of `convista.features`. Each worker reads its own slices of `data`, decodes them
    and sends back their rows; this process alone writes. A slice whose worker died is given to another one. What is
    kept is not computed, and what was computed is kept if this process dies. Raises an `InputError` that says what to
    mend, also where Ray is not installed or no machine is left.
    """
    check_data(data)
    if tasks is not None and (isinstance(tasks, bool) or not isinstance(tasks, int) or tasks < 1):
        raise InputError(f"tasks={tasks} was given; expected a whole number of at least 1.")
    asked = FeatureRecipe.of(**words)
    if asked.adapt != "none":
        raise InputError(f"adapt={asked.adapt} was given; a network is adapted to pictures in one process, not on Ray.")
    _import_ray()
    base = pretrained(os.fspath(model), None if weights is None else os.fspath(weights), "")
    found = gathered_table(base, os.fspath(data), asked, RayWorkers(asked.device, tasks), console or Console())
    if out is not None:
        written(found, Path(out))
    return found


class RayWorkers:
    """The processes of the cluster that this one belongs to; of one on this machine where there is none.

    Raises `InputError` where Ray is not installed or the cluster has not what is asked for.
    """

    def __init__(self, device: str = "auto", tasks: int | None = None):
        self.ray = _import_ray()
        if not self.ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
            self.ray.init(logging_level="warning", log_to_driver=False)
        there = self.ray.cluster_resources()
        if device == "cuda" and not there.get("GPU", 0):
            raise RunError("The device 'cuda' was asked for, and no machine of the Ray cluster has a GPU.")
        gpu = device in ("auto", "cuda") and there.get("GPU", 0) >= 1
        self.device = "cuda" if gpu else "cpu" if device == "auto" else device
        self.needs = {"num_cpus": 1, "num_gpus": A_GPU if gpu else 0}
        able = int(there.get("GPU", 0) / A_GPU if gpu else there.get("CPU", 0))
        self.workers = max(1, min(able, tasks or able))
        self.flying = tasks or 2 * self.workers  # slices that are with the cluster at one time
        self.left = time.monotonic()  # when a machine was last seen

    def precision(self) -> str:
        """The fast one on a worker's device."""
        return str(self._got(self._task(_precision).remote(self.device), None))

    def run(self, errand: Errand, todo: deque[Slice]) -> Arrivals:
        """See `gather.Elsewhere`. Raises `RunError` where workers keep dying, or no machine is left."""
        shared, task = self.ray.put(errand), self._task(_work)
        flying: dict[Any, Slice] = {}
        try:
            while todo or flying:
                while todo and len(flying) < self.flying:
                    part = todo.popleft()
                    flying[task.remote([shared], part)] = part
                ready, _ = self.ray.wait(list(flying), num_returns=1, timeout=1.0)
                if not ready:
                    self._check_cluster()
                    yield None
                for reference in ready:
                    part = flying.pop(reference)
                    yield part, self._got(reference, part)
        finally:
            for reference in flying:
                self.ray.cancel(reference, force=True)

    def _task(self, function: Any) -> Any:
        return self.ray.remote(max_retries=TRIES, **self.needs)(function)

    def _got(self, reference: Any, part: Slice | None) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError:
            raise  # a fault of ours
        except self.ray.exceptions.RayError as error:
            about = f" on {shown(part.entries[0].path)} to {shown(part.entries[-1].path)}" if part else ""
            raise RunError(
                f"A Ray worker died {1 + TRIES} times{about} ({type(error).__name__}). What was computed is kept: give "
                "the same command again, or look at these pictures and at the memory of the machines."
            ) from None

    def _check_cluster(self) -> None:
        there = self.ray.cluster_resources()
        if all(there.get(name, 0) >= self.needs[f"num_{name.lower()}s"] for name in ("CPU", "GPU")):
            self.left = time.monotonic()
        elif time.monotonic() - self.left > PATIENCE:
            raise RunError(
                f"The Ray cluster has had no machine to work on for {PATIENCE:.0f} s. What was computed is kept: give "
                "the same command again when there are some."
            )


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("Features on Ray need Ray. Install it with: pip install 'convista[scale]'") from None
    return ray


def _work(shared: list[Any], part: Slice) -> Part:
    """What a worker does; a refusal is handed back, so that it is told once and without a traceback."""
    try:
        errand, trunk = _at_hand(shared[0])
    except InputError as error:
        return Part(refused=f"On a Ray worker: {error}")
    return work(errand, trunk, part)


@lru_cache(maxsize=1)
def _at_hand(reference: Any) -> tuple[Errand, Trunk]:
    """A worker gets the network once, not with each slice."""
    import ray

    errand: Errand = ray.get(reference)
    return errand, errand.trunk()


def _precision(device: str) -> str:
    return fast_precision(pick_device(device))
