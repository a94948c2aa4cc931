"""The end of a run: the best weights judged, their mistakes listed, the record closed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convista.data import Pictures
from convista.files import write_atomically
from convista.records import Epoch
from convista.tasks.checkup import stayed, try_instead
from convista.tasks.mistakes import mistakes
from convista.tasks.run import Run
from convista.training import Console, score

__all__ = ["close"]

Logits = NDArray[np.float64]


def close(
    run: Run,
    judged: Mapping[str, Logits],
    splits: Mapping[str, Pictures],
    history: Sequence[Epoch],
    best_epoch: int,
    console: Console,
    **more: Any,
) -> Run:
    """The run with its scores on `val` and `test`, from the best weights' logits (n, classes) of each."""
    prior = np.array(run.info["prior"])
    scores = {name: score(logits, splits[name].targets, run.labels, prior) for name, logits in judged.items()}
    write_atomically(run.path / "mistakes.json", json.dumps(mistakes(judged["test"], splits["test"], run)))
    if stayed(scores["test"]):
        console.say(
            f"It stayed at its floor, no better than always saying one class. {try_instead(run)} "
            f"What its layers do: {shlex.join(['convista', 'doctor', str(run.path)])}"
        )
    return run.update(
        status="done",
        epochs=sum(row.epoch > 0 for row in history),
        best_epoch=best_epoch,
        seconds=round(sum(row.seconds for row in history), 2),
        val=asdict(scores["val"]),
        test=asdict(scores["test"]),
        **more,
    )
