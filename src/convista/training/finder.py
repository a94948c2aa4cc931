"""The learning-rate finder (Smith 2015, section 3.3): the rate rises from step to step, and the loss tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from convista.errors import InputError, InterruptedRunError
from convista.training.loop import Training
from convista.training.state import Progress, figure

__all__ = ["Finder", "Sweep", "check_span", "smoothed", "sweep_of"]

DIVERGED = 4.0  # times the best smoothed loss: the sweep ends
LAG = 0.9  # of the running mean that decides when to end
WIDTH = 0.025  # of the sweep: standard deviation of the bell that smooths the curve
LEARNT = 0.02  # by which share of itself the loss must fall to say anything
BEGUN = 0.1  # of its whole fall: what comes before is the noise of a start, however steep
APART, FEW = 30.0, 40  # factor between the two rates, and steps, beyond and below which a suggestion is a guess
BARS = " ▁▂▃▄▅▆▇█"
LETTERS = 60


@dataclass(frozen=True)
class Sweep:
    """Rates and the loss at each, with what they suggest: `lr` (None where the loss does not fall anywhere).

    `steepest` is the rate at which the smoothed loss falls fastest once it lies clearly below its start, `tenth` a
    tenth of the one at which it is lowest, `lr` their geometric mean. `ended` says why the sweep ended: "highest rate",
    "diverged" or "not a number".
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    steepest: float | None
    tenth: float | None
    lr: float | None
    ended: str
    default: float

    def to_json(self) -> dict[str, Any]:
        """The fields and the warnings as plain data."""
        return asdict(self) | {"warnings": self.warnings}

    def __str__(self) -> str:
        low = min(self.smooth)
        high = min(max(self.smooth), low + 1.2 * (max(self.smooth[: max(3, len(self.smooth) // 4)]) - low) or math.inf)
        picked = [min(high, self.smooth[i * (len(self.smooth) - 1) // (LETTERS - 1)]) for i in range(LETTERS)]
        bars = "".join(BARS[1 + round((loss - low) / (high - low or 1) * (len(BARS) - 2))] for loss in picked)
        span = f"{self.rates[0]:.1e} … {self.rates[-1]:.1e}"
        head = f"loss {low:.3g} … {max(self.smooth):.3g} at rates {span} ({self.ended})"
        return "\n".join([head, bars, *self.advice])

    @property
    def advice(self) -> list[str]:
        """What to do, in words."""
        if self.lr is None:
            return [
                "The loss does not fall at any of these rates: nothing can be suggested. Take other initial weights "
                "(--init he), another --optimizer, more --steps, another range, or ask convista doctor."
            ]
        return [
            f"steepest descent at {self.steepest:.2g}; a tenth of the rate with the lowest loss is {self.tenth:.2g}",
            f"suggested, between the two: --lr {figure(self.lr, 2)}   (the default would be {figure(self.default, 2)})",
            *(f"Warning: {warning}" for warning in self.warnings),
        ]

    @property
    def warnings(self) -> list[str]:
        """Why the suggestion is no more than a guess; nothing where it is a good one or where there is none."""
        if self.steepest is None or self.tenth is None:
            return []
        found = []
        if (apart := max(self.steepest / self.tenth, self.tenth / self.steepest)) > APART:
            found.append(
                f"the two rates lie {apart:,.0f}x apart, so what is between them is a guess. Look at the curve (--out "
                "curve.svg), and take more --steps or --lowest and --highest around its fall."
            )
        if len(self.losses) < FEW:
            found.append(f"{len(self.losses)} steps are few, and their losses are noisy. Take --steps 100 or more.")
        return found


def check_span(lowest: float, highest: float, steps: int) -> None:
    """Raises `InputError` for rates between which nothing can be found."""
    if not (0 < lowest < highest < math.inf) or steps < 10:
        raise InputError(
            f"A sweep from {lowest:g} to {highest:g} in {steps} steps was asked for; it needs two positive rates, "
            "the lower one first, and at least 10 steps."
        )


class Finder(Training):
    """A training whose rate rises exponentially from `lowest` to `highest`; it writes nothing."""

    lowest, highest, count = 1e-6, 10.0, 100
    broken = False

    def sweep(self, lowest: float, highest: float, steps: int) -> Sweep:
        """Trains for up to `steps` steps and draws the conclusion. Raises `InputError` for a range that is none,
        `InterruptedRunError` when asked to stop.

        Ends early where the running mean of the loss is 4 times its best, or the loss is no number.
        """
        check_span(lowest, highest, steps)
        self.lowest, self.highest, self.count = lowest, highest, steps
        net = DistributedDataParallel(self.net) if self.world.size > 1 else self.net
        losses: list[float] = []
        ended, mean, best = "highest rate", 0.0, math.inf
        for step in range(steps):
            if self.world.total(float(self.console.stopped()))[0] > 0:
                raise InterruptedRunError(f"Stopped at step {step + 1} of {steps}; nothing was written.")
            loss = self._loss_of_step(net, step)
            if self.broken:
                ended = "not a number"
                break
            losses.append(loss)
            mean = LAG * mean + (1 - LAG) * loss
            level = mean / (1 - LAG ** (step + 1))
            if level > DIVERGED * best:
                ended = "diverged"
                break
            best = min(best, level)
        return sweep_of([self._rate(step) for step in range(len(losses))], losses, ended, self.peak)

    def _loss_of_step(self, net: nn.Module, step: int) -> float:
        self.state.epoch, self.state.batch = divmod(step, self.steps)
        before, indices = self.state.loss_sum, self.batches()[self.state.batch]
        seen = self.state.seen
        while self.state.seen == seen and not self.broken:  # fp16 skips a step while its scale is too large
            self.step(net, indices)
        loss = (self.state.loss_sum - before) / len(indices)
        if self.world.first:
            self.console.show(Progress(1, 1, step + 1, self.count, loss, 0.0, rate=self._rate(step)))
        return loss

    def _rate(self, step: int) -> float:
        return float(self.lowest * (self.highest / self.lowest) ** (step / (self.count - 1)))

    def _set_lr(self, step: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step) * group.get("lr_scale", 1.0)
        return self._rate(step)

    def _strike(self) -> None:
        self.undo.back()
        self.broken = True


def sweep_of(
    rates: Sequence[float], losses: Sequence[float], ended: str = "highest rate", default: float = 0.0
) -> Sweep:
    """What losses at exponentially rising rates suggest.

    >>> rates = [10.0 ** (i / 10 - 5) for i in range(50)]
    >>> found = sweep_of(rates, [2 - 1 / (1 + (0.01 / r) ** 2) + 50 * r**2 for r in rates])
    >>> 0.001 < found.lr < 0.02
    True
    """
    if len(losses) < 3:
        raise InputError("The loss was no number from the start: take a smaller --lowest, or ask convista doctor.")
    smooth = smoothed(np.array(losses), WIDTH * len(rates))
    low = int(smooth.argmin())
    start = float(np.mean(losses[: max(3, len(losses) // 20)]))
    steepest = tenth = lr = None
    if low > 1 and smooth[low] < (1 - LEARNT) * start:
        begun = start - max(LEARNT * start, BEGUN * (start - smooth[low]))
        first = int(np.flatnonzero(smooth[: low + 1] > begun).max(initial=0))  # where it leaves its start for good
        steepest, tenth = rates[first + int(np.gradient(smooth)[first : low + 1].argmin())], rates[low] / 10
        lr = math.sqrt(steepest * tenth)
    return Sweep(tuple(rates), tuple(losses), tuple(smooth.tolist()), steepest, tenth, lr, ended, default)


def smoothed(losses: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Each loss as the mean of those around it, weighted by a bell of `width` steps, so that nothing is shifted."""
    places = np.arange(len(losses))
    bell = np.exp(-0.5 * ((places[:, None] - places) / max(width, 1e-9)) ** 2)
    return np.asarray(bell @ losses / bell.sum(1))
