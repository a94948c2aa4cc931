"""What a run's own record says of its health, and the whole command that looks for a better rate."""

from __future__ import annotations

import math
import os
import shlex

from convista.data import NO_LABELS
from convista.records import Score
from convista.tasks.run import Run
from convista.training import Diagnosis, Finding

__all__ = ["another_rate", "at_floor", "findings_in_use", "look_for_rate", "stayed", "try_instead"]

# Scores like those of who does not look. A loss this near to theirs by chance comes with far more right answers.
NEAR, HARDLY = 0.01, 0.1
PLAIN = ("sgd", "momentum", "nesterov")  # which climb slowly where gradients have faded
ABSURD, LOST = 1.0, 10.0  # nats above guessing, on the pictures that a run has learnt from: a warning, an error


def at_floor(top1: float, loss: float, floor: dict[str, float]) -> bool:
    """Whether scores say that nothing was learned: not more is right, or hardly more with the loss of guessing.

    >>> floor = {"top1": 0.1, "loss": 2.303}
    >>> at_floor(0.1, 2.4, floor), at_floor(0.16, 2.302, floor), at_floor(0.5, 2.302, floor)
    (True, True, False)
    """
    hardly = top1 < floor["top1"] + HARDLY * (1 - floor["top1"])
    return top1 <= floor["top1"] or (hardly and loss > (1 - NEAR) * floor["loss"])


def stayed(score: Score) -> bool:
    """Whether a run with this score stayed at its floor."""
    return at_floor(score.top1, score.loss, score.floor)


def look_for_rate(run: Run) -> str:
    """The command that looks for a learning rate for the run's own network, pictures and words."""
    words = ["convista", "lr-find", run.info["data"], "--model", run.recipe.model, "--recipe", os.fspath(run.path)]
    return shlex.join(words)


def another_rate(run: Run) -> str:
    """How to find a learning rate, as a sentence; nothing where the search would not begin as the run did."""
    anew = run.verb == "train" and "from" not in run.info
    return f"Or look for one: {look_for_rate(run)}" if anew else ""


def try_instead(run: Run) -> str:
    """What to do about a run that does not learn, as a sentence with the command."""
    if "from" in run.info:
        return "Its features do not tell these classes apart: try another network with --from, or train without it."
    if run.verb == "pretrain":
        return f"Give it more --epochs, or another rate than {run.recipe.lr:.3g}: --lr."
    init, optimizer = ("lsuv" if run.recipe.init == "he" else "he"), run.recipe.optimizer
    return (
        f"Look for another rate than {run.recipe.lr:.3g}: {look_for_rate(run)}. If it finds none, try other initial "
        f"weights (--init {init}) or another --optimizer" + (" (adamw)." if optimizer in PLAIN else ".")
    )


def findings_in_use(run: Run | None, found: Diagnosis, real: bool) -> list[Finding]:
    """Findings about a network in use that its layers do not show. `real` says that `found` is of labelled pictures."""
    told = _of_record(run) if run is not None else None
    return [finding for finding in (told, _absurd(found, run) if real else None) if finding is not None]


def _of_record(run: Run) -> Finding | None:
    """By its test where it is done, else by its last epoch, from the third on; or that it came to no end at all."""
    if run.diverged:
        return Finding("diverged", "", f"It diverged. {run.info['reason']}", "error")
    if run.labels == NO_LABELS:
        return None
    if run.done and stayed(run.test):
        score, split = run.test, "test"
        top1, loss, floor = score.top1, score.loss, score.floor["top1"]
    elif not run.done and len(rows := run.history) > 2:
        prior = [share for share in run.info["prior"] if share > 0]
        floor, split = max(prior), "validation"
        top1, loss = rows[-1].val_top1, rows[-1].val_loss
        if not at_floor(top1, loss, {"top1": floor, "loss": -sum(p * math.log(p) for p in prior)}):
            return None
    else:
        return None
    text = (
        f"It stayed at its floor: {split} top-1 {top1:.3f}, always saying one class has {floor:.3f} (loss {loss:.4g}). "
        + try_instead(run)
    )
    return Finding("at-floor", "", text, "error")


def _absurd(found: Diagnosis, run: Run | None) -> Finding | None:
    if found.mode != "in use" or not found.loss > found.guessing + ABSURD:
        return None
    text = (
        f"The loss is {found.loss:.3g}, guessing has {found.guessing:.2f}: it is sure of wrong answers. Look whether "
        "these pictures are prepared as in training and their classes have the same names and order"
        + (f". {try_instead(run)}" if run is not None else ".")
    )
    return Finding("loss-in-use", "", text, "error" if found.loss > found.guessing + LOST else "warning")
