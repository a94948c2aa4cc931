"""`convista.ray_train`: the same training, started by Ray on the machines of its cluster."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

from convista.data import lasting_address
from convista.errors import InputError
from convista.tasks import Run

__all__ = ["ray_train"]


def ray_train(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    workers: int = 2,
    gpu: bool = False,
    restarts: int = 2,
    **words: Any,
) -> Run:
    """`convista.train` on `workers` processes of Ray's cluster, with a GPU each if `gpu`; Ray starts them again.

    Every worker reads `data` by itself. `out` is the run folder, on a disk that the workers and this process share.
    `words` are those of `convista.train`. After a lost worker the run goes on from its last checkpoint, `restarts`
    times. Raises what `convista.train` raises, and `InputError` where Ray is not installed.
    """
    try:
        import ray.train as rays
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise InputError("Training on Ray needs Ray. Install it with: pip install 'convista[scale]'") from None
    if workers < 1:
        raise InputError(f"workers={workers} was given; expected at least 1.")
    folder = Path(out).resolve()
    call = {"data": lasting_address(os.fspath(data)), "out": str(folder), "job": uuid.uuid4().hex, **words}
    with tempfile.TemporaryDirectory() as scratch:
        result = TorchTrainer(
            _work,
            train_loop_config=call,
            scaling_config=rays.ScalingConfig(num_workers=workers, use_gpu=gpu),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
            run_config=rays.RunConfig(storage_path=scratch, failure_config=rays.FailureConfig(max_failures=restarts)),
        ).fit()
    if result.return_value:
        raise InputError(result.return_value)
    return Run.load(folder)


def _work(call: dict[str, Any]) -> str:
    """What each worker does; a refusal is handed back, so that Ray does not try again."""
    from convista.verbs import train

    os.environ["TORCHELASTIC_RUN_ID"] = call.pop("job")  # as under torchrun: the same job goes on with its own run
    try:
        train(call.pop("data"), **call)
    except InputError as error:
        return str(error)
    return ""
