"""L-BFGS: descent that learns the curvature from its own steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from torch import Tensor

__all__ = ["lbfgs"]

MEMORY = 10  # steps that are remembered
ENOUGH = 1e-4  # of the decrease that the slope promises, what a step must bring (Armijo)
HALVINGS = 20  # tries at a shorter step, before rounding is what hides a decrease
TINY = 0.1  # times the square of the slope that counts as flat is a gain that counts as none
Function = Callable[[Tensor], tuple[float, Tensor]]


def lbfgs(function: Function, start: Tensor, slope: float, steps: int = 500) -> Tensor:
    """Where a smooth convex function, whose value and gradient (n,) it gives at (n,), is least, from `start` (n,).

    It ends where no slope is steeper than `slope`, where a step gains next to nothing, and after so many steps. The
    first step is the gradient itself, so the function should curve about 1 in every direction.
    Source: Nocedal and Wright, Numerical Optimization (2006), algorithms 3.1, 7.4 and 7.5.

    >>> import torch
    >>> goal = torch.tensor([3.0, -1.0], dtype=torch.float64)
    >>> def bowl(x):
    ...     return float((x - goal).square() @ torch.tensor([1.0, 5.0]).double()), 2 * (x - goal) * torch.tensor([1, 5])
    >>> [round(x, 6) for x in lbfgs(bowl, torch.zeros(2, dtype=torch.float64), 1e-9).tolist()]
    [3.0, -1.0]
    """
    place, memory = start, deque[tuple[Tensor, Tensor, float]](maxlen=MEMORY)
    value, gradient = function(place)
    for _ in range(steps):
        if float(gradient.abs().max()) <= slope:
            break
        found = _searched(function, place, value, gradient, _direction(gradient, memory))
        if found is None and memory:
            memory.clear()  # what was learned does not fit here: once more along the gradient
            continue
        if found is None:
            break
        new, lower, changed = found
        step, bend = new - place, changed - gradient
        gain, curvature = value - lower, float(step @ bend)
        if curvature > 0:
            memory.append((step, bend, curvature))
        place, value, gradient = new, lower, changed
        if gain <= TINY * slope**2 * max(abs(value), 1):
            break
    return place


def _direction(gradient: Tensor, memory: deque[tuple[Tensor, Tensor, float]]) -> Tensor:
    """The gradient through the inverse curvature that the remembered steps show, downhill: the two-loop recursion."""
    direction, shares = -gradient, list[float]()
    for step, bend, curvature in reversed(memory):
        shares.append(float(step @ direction) / curvature)
        direction = direction.sub(bend, alpha=shares[-1])
    if memory:
        _, bend, curvature = memory[-1]
        direction = direction * (curvature / float(bend @ bend))
    for (step, bend, curvature), share in zip(memory, reversed(shares), strict=True):
        direction = direction.add(step, alpha=share - float(bend @ direction) / curvature)
    return direction


def _searched(
    function: Function, place: Tensor, value: float, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, float, Tensor] | None:
    """The first place along the direction that is enough lower, its value and gradient; None where there is none."""
    promise, length = float(gradient @ direction), 1.0
    for _ in range(HALVINGS if promise < 0 else 0):
        new = place.add(direction, alpha=length)
        lower, changed = function(new)
        if lower <= value + ENOUGH * length * promise:
            return new, lower, changed
        length /= 2
    return None
