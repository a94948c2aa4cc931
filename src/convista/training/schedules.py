"""How the learning rate runs from the first step to the last, as a share of its peak.

Every schedule but `onecycle`, which rises by itself, has a linear warm-up in front; `rate` is a pure function of the
step (and, for `plateau`, of the validation losses so far), so that a resumed run has the same rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from convista.errors import InputError
from convista.registry import Registry

__all__ = ["SCHEDULES", "courses", "drops", "rate"]

PATIENCE = 5  # epochs without a better validation loss before `plateau` takes a tenth
CYCLES = 3  # of `restarts`, each twice as long as the one before


def _step(progress: float) -> float:
    """A tenth at half and at three quarters of the way (He et al. 2015, section 4.2)."""
    return float(0.1 ** ((progress >= 0.5) + (progress >= 0.75)))


def _exponential(progress: float) -> float:
    """The same factor at every step, down to a hundredth."""
    return float(0.01**progress)


def _cosine(progress: float) -> float:
    """Half a cosine down to zero (Loshchilov and Hutter 2016, equation 5 with one cycle)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _restarts(progress: float) -> float:
    """Cosines that begin anew, each twice as long as the one before (Loshchilov and Hutter 2016, T_mult = 2)."""
    start, length = 0.0, 1 / (2**CYCLES - 1)
    while progress >= start + length and start + length < 1 - 1e-9:
        start, length = start + length, 2 * length
    return _cosine((progress - start) / length)


def _onecycle(progress: float) -> float:
    """From a 25th up to the peak in 30 % of the steps, then down to nearly nothing (Smith and Topin 2017)."""
    up, low = 0.3, 1 / 25
    if progress < up:
        return low + (1 - low) * (1 - _cosine(progress / up))
    return _cosine((progress - up) / (1 - up))


SCHEDULES: Registry[Callable[[float], float]] = Registry(
    "schedule",
    constant=lambda progress: 1.0,
    cosine=_cosine,
    exponential=_exponential,
    onecycle=_onecycle,
    plateau=lambda progress: 1.0,
    restarts=_restarts,
    step=_step,
)


def rate(schedule: str, step: int, steps: int, warmup: int = 0, losses: Sequence[float] = ()) -> float:
    """The share of the peak rate at `step` of `steps`, the first `warmup` of which rise linearly.

    `losses` are the validation losses of the epochs so far. Raises `UnknownNameError`.

    >>> [round(rate("cosine", s, 11, 1), 2) for s in (0, 1, 6, 11)]
    [1.0, 1.0, 0.5, 0.0]
    >>> [round(rate("step", s, 100), 2) for s in (0, 49, 50, 75)]
    [1.0, 1.0, 0.1, 0.01]
    """
    shape = SCHEDULES[schedule]
    if schedule == "onecycle":
        return shape(step / max(1, steps))
    if step < warmup:
        return (step + 1) / warmup
    lowered = float(0.1 ** drops(losses)) if schedule == "plateau" else 1.0
    return lowered * shape((step - warmup) / max(1, steps - warmup))


def courses(
    names: Sequence[str] = (), epochs: int = 20, warmup: float = 1, lr: float = 1.0, steps: int = 100
) -> dict[str, list[float]]:
    """The rate at every one of `steps` steps an epoch, for each schedule; for all where none is named.

    Raises `UnknownNameError`, and `InputError` for numbers that make no curve.

    >>> {name: [round(value, 2) for value in rates[::2]] for name, rates in courses(["step"], 4, 0, steps=2).items()}
    {'step': [1.0, 1.0, 0.1, 0.01]}
    """
    if not isinstance(epochs, int) or epochs < 1 or not 0 <= warmup < math.inf or not 0 < lr < math.inf:
        raise InputError("A curve needs at least 1 epoch, all whole, a warm-up of at least 0, and a positive rate.")
    every = steps * epochs
    rising = round(min(steps * warmup, every / 4))
    return {name: [lr * rate(name, step, every, rising) for step in range(every)] for name in names or SCHEDULES}


def drops(losses: Sequence[float], patience: int = PATIENCE) -> int:
    """How often the loss stood still for `patience` epochs; each time the waiting begins anew.

    >>> drops([1.0, 0.9, 0.95, 0.96, 0.91], patience=3), drops([1.0, 0.9, 0.8], patience=1)
    (1, 0)
    """
    found, waited, best = 0, 0, math.inf
    for loss in losses:
        better = loss < best  # false for what is not a number
        best, waited = (loss, 0) if better else (best, waited + 1)
        if waited == patience:
            found, waited = found + 1, 0
    return found
