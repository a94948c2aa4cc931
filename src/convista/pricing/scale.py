"""Compound scaling: width, depth and resolution grow together until the budget is spent (Tan, Le 2019, equation 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from convista.blocks import Spec
from convista.catalogue import amount
from convista.errors import InputError
from convista.models import spec as spec_of
from convista.models.scaling import deepen, widen
from convista.pricing.count import cost, count
from convista.records import Cost

__all__ = ["Scaled", "scale"]

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15  # found for EfficientNet-B0: alpha * beta^2 * gamma^2 is about 2
STEP = 0.05  # of phi
SMALLEST, LARGEST = -24.0, 64.0  # phi


@dataclass(frozen=True)
class Scaled:
    """A network scaled by `phi`: `alpha^phi` times as deep, `beta^phi` times as wide, `gamma^phi` the resolution.

    `depth` and `width` are the factors (`depth` 1 for a network without repeated blocks, which cannot be deeper),
    `image` the side in pixels; `base` and `cost` the prices before and after. `create(spec)` builds it.
    """

    base: Cost
    cost: Cost
    alpha: float
    beta: float
    gamma: float
    phi: float
    depth: float
    width: float
    image: int
    spec: Spec


def scale(
    model: str | Spec,
    max_macs: str | float | None = None,
    max_params: str | float | None = None,
    alpha: float = ALPHA,
    beta: float = BETA,
    gamma: float = GAMMA,
) -> Scaled:
    """The largest network within the budget that compound scaling makes of `model`; a smaller one where it must be.

    Raises `InputError` without a budget, for one that nothing fits, and for a network that cannot be scaled.

    >>> found = scale("efficientnet_b0", max_macs="1G")
    >>> found.image, found.cost.macs < 1e9
    (256, True)
    """
    bounds = {
        "macs": None if max_macs is None else amount("max_macs", max_macs),
        "params": None if max_params is None else amount("max_params", max_params),
    }
    budget = {key: most for key, most in bounds.items() if most is not None}
    if not budget:
        raise InputError("Nothing to scale to was given: name a budget such as max_macs=2G or max_params=10M.")
    for word, factor in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not isinstance(factor, int | float) or not 1 <= factor <= 2:
            raise InputError(f"{word}={factor} was given; expected a factor between 1 and 2.")
    base: Any = spec_of(model) if isinstance(model, str) else model
    if not isinstance(base, Spec):
        name = getattr(base, "name", type(base).__name__)
        raise InputError(f"{name} has no table to scale: compound scaling is for networks of our own.")
    search = _Search(base, (alpha if _has_depth(base) else 1.0, beta, gamma), budget)
    phi = search.largest()
    made = search.at(phi)
    depth, width = search.factors[0] ** phi, beta**phi
    return Scaled(cost(base), cost(made), alpha, beta, gamma, phi, depth, width, made.image, made)


def _has_depth(base: Spec) -> bool:
    try:
        deepen(base.table, 2)
    except InputError:
        return False
    return True


class _Search:
    """Looks for the largest phi whose network is within the budget."""

    def __init__(self, base: Spec, factors: tuple[float, float, float], budget: dict[str, float]):
        self.base, self.factors, self.budget = base, factors, budget
        self.refused: InputError | None = None

    def at(self, phi: float) -> Spec:
        """The scaled table; pictures have a side that 4 divides, as in the paper."""
        alpha, beta, gamma = self.factors
        image = max(4, 4 * round(self.base.image * gamma**phi / 4)) if gamma > 1 else self.base.image
        name = f"{self.base.name} phi={phi:g}"
        try:
            table = widen(self.base.table, beta**phi)
            table = deepen(table, alpha**phi) if alpha > 1 else table
            return replace(self.base, name=name, table=table).at(image)
        except InputError as error:
            raise InputError(f"{self.base.name} cannot be scaled by phi={phi:g}: {error}") from None

    def fits(self, phi: float) -> bool:
        """Whether the network of this phi is within the budget; one that cannot be built is not."""
        try:
            params, macs = count(self.at(phi))
        except InputError as error:
            self.refused = error
            return False
        return all({"params": params, "macs": macs}[key] <= most for key, most in self.budget.items())

    def largest(self) -> float:
        """To the nearest step. Widths and depths are rounded, so that prices grow in steps, but they do grow."""
        low, high = 0, round(8 / STEP)
        if not self.fits(0):
            low, high = self._smallest(), 0
        else:
            while self.fits(high * STEP):
                low, high = high, 2 * high
                if high * STEP > LARGEST:
                    raise InputError("Nothing grows with these factors, or hardly: give larger ones.")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(round(middle * STEP, 2)) else (low, middle)
        return round(low * STEP, 2)

    def _smallest(self) -> int:
        """A number of steps below zero at which the network fits."""
        for phi in (-1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0, -16.0, SMALLEST):
            if self.fits(phi):
                return round(phi / STEP)
        said = ", ".join(f"{key} {most:,.0f}" for key, most in self.budget.items())
        params, macs = count(self.base)
        why = f" ({self.refused})" if self.refused else ""
        raise InputError(
            f"{self.base.name} has {params:,} parameters and {macs:,} MACs, and no scaling brings it down to {said}"
            f"{why}. Take a smaller network: convista pick finds those that fit."
        )
