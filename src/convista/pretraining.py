"""The verb `pretrain` as a Python function: the same name and words as on the command line."""

from __future__ import annotations

import os
from typing import Any

from convista.feature_recipes import SelfRecipe
from convista.selfsup import pretrain_network, resume_pretraining
from convista.tasks import Run
from convista.training import Console, joined
from convista.verbs import Folder, _as_call, _place, report

__all__ = ["pretrain"]


def pretrain(
    data: Folder | None = None,
    *,
    out: Folder | None = None,
    resume: Folder | None = None,
    console: Console | None = None,
    **words: Any,
) -> Run:
    """Learns features of pictures without labels, for `train(…, from_=RUN)`, and writes a run folder with a report.

    `data` is a folder of pictures, with or without folders for classes, and all else that `train` takes. Classes, where
    there are several and `labels` is not False, judge only: by the vote of neighbours after each epoch, and by a linear
    probe at the end, which becomes the network's last layer. `words` are those of the command line: what `SelfRecipe`
    names (`method="simclr"` or `"moco"`, `model`, `epochs`, `batch`, `temperature`, …), and `device`, `strict`,
    `checkpoint_seconds`, `tensorboard`. `resume=RUN` goes on with a run that was interrupted, bit for bit. Raises an
    `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.pretrain("digits", model="lenet5", epochs=1, limit=100, batch=50, out=tmp / "ssl")
    >>> sorted(run.info["floors"]), sorted(run.info["knn"])
    (['pixels', 'random'], ['test', 'val'])
    """
    console = console or Console(command=_as_call("pretrain", data, out, None, words))
    place = _place(data, out, resume, None, words)
    with joined("pretrain") as world:
        if resume is not None:
            run = resume_pretraining(resume, place, console, world)
        else:
            run = pretrain_network(os.fspath(data or ""), SelfRecipe.of(**words), place, console, world)
        if world.first:
            report(run)
    return run
