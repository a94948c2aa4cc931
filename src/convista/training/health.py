"""What the doctor found: one record for each layer, one for each finding, one for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Diagnosis", "Finding", "LayerHealth", "NormState"]

MOST_ROWS = 60  # layers that are printed
SCREEN = 20  # lines of a table behind which the findings are said once more
PLOT = 24  # letters of a printed axis
MARKS = {"error": "✗", "warning": "!", "note": "·"}


@dataclass(frozen=True)
class Finding:
    """What is wrong: a stable `code`, the first layer concerned ("" for the whole network), words, how bad.

    `severity` is "error" (it will not learn, or answers wrong), "warning" (it will learn badly) or "note".
    """

    code: str
    layer: str
    text: str
    severity: str

    def __str__(self) -> str:
        return f"{MARKS[self.severity]} {self.text}"


@dataclass(frozen=True)
class NormState:
    """A batch normalisation: its constants, and shares of channels in 0..1.

    `flat` channels have less variance than `eps`, `zero` ones a scale of zero. `untrained` says that the running
    statistics are those of a fresh layer; None where there are none. `values` is how many numbers the statistics of a
    channel are made of while training, `frozen` that they do not move in a network that trains.
    """

    eps: float
    momentum: float | None
    flat: float
    zero: float
    untrained: bool | None
    values: int
    frozen: bool


@dataclass(frozen=True)
class LayerHealth:
    """One layer as the batch passed through it, in the order of execution.

    `role` is "weights" (convolution, linear), "norm", "activation" or "other". `mean`, `std`, `largest` (absolute) and
    `zeros` (a share) are of its output; `dead` is the share of its `units` (channels) that are zero for the whole
    batch, `saturated` of a tanh's or sigmoid's outputs within 1 % of its limits. `gradient` is the norm of the loss's
    gradient by the output, `weight` and `weight_gradient` norms of the weights, `ratio` the second over the first.
    `alike` says that all units have the same weights. None where there is no such number.
    """

    name: str
    kind: str
    role: str
    shape: tuple[int, ...]
    mean: float
    std: float
    largest: float
    finite: bool
    zeros: float
    dead: float
    units: int
    saturated: float | None = None
    gradient: float | None = None
    weight: float | None = None
    weight_gradient: float | None = None
    alike: bool = False
    norm: NormState | None = None

    @property
    def ratio(self) -> float | None:
        """The weights' gradient over the weights."""
        if not self.weight or self.weight_gradient is None:
            return None
        return self.weight_gradient / self.weight


@dataclass(frozen=True)
class Diagnosis:
    """A network's first forward and backward pass on a batch, layer by layer, and what is wrong in words.

    `mode` is "first step" (normalisations take the batch's statistics) or "in use" (they take the running ones);
    dropout is off in both. `loss` is the mean cross-entropy in nats, `guessing` that of guessing, ln(classes).
    `logits_spread` is how much the logits differ from picture to picture (standard deviation, the largest class's).
    """

    model: str
    data: str
    image: tuple[int, ...]
    batch: int
    classes: int
    mode: str
    input_mean: float
    input_std: float
    loss: float
    guessing: float
    logits_spread: float
    layers: tuple[LayerHealth, ...]
    findings: tuple[Finding, ...] = ()

    def with_findings(self, findings: Sequence[Finding]) -> Diagnosis:
        """The same, with what is wrong; worst first."""
        order = list(MARKS)
        return replace(self, findings=tuple(sorted(findings, key=lambda found: order.index(found.severity))))

    @property
    def weights(self) -> tuple[LayerHealth, ...]:
        """The convolutions and linear layers."""
        return tuple(layer for layer in self.layers if layer.role == "weights")

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; numbers that are none (infinite, undefined) become None."""
        data = asdict(self)
        for row, layer in zip(data["layers"], self.layers, strict=True):
            row["ratio"] = layer.ratio
        plain: dict[str, Any] = _plain(data)
        return plain

    def __str__(self) -> str:
        said = [str(finding) for finding in self.findings] or ["✓ Nothing is wrong."]
        table = _table(self)
        again = ["", *said] if len(table) > SCREEN else []  # whose beginning is out of sight
        return "\n".join([self.summary, "", *said, "", *table, *again])

    @property
    def summary(self) -> str:
        """What was looked at, in a sentence or two."""
        size = " x ".join(map(str, self.image))
        mean = round(self.input_mean, 2) + 0.0  # no minus in front of zero
        return (
            f"{self.model}, {self.mode}, {self.batch} inputs of {size} ({self.data}): mean {mean:.2f}, "
            f"std {self.input_std:.2f}. Loss {self.loss:.4g}; guessing among {self.classes:,} classes is "
            f"{self.guessing:.3f}."
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(found: Diagnosis) -> list[str]:
    rows: Sequence[LayerHealth] = found.layers
    if len(rows) > MOST_ROWS:
        rows = found.weights
    shown = [rows[i * (len(rows) - 1) // (MOST_ROWS - 1)] for i in range(MOST_ROWS)] if len(rows) > MOST_ROWS else rows
    stds, gradients = [layer.std for layer in shown], [layer.gradient or 0.0 for layer in shown]
    axes = decades(stds), decades(gradients)
    wide = max((len(layer.name) for layer in shown), default=5)
    heads = [f"{what} 1e{low} … 1e{high}" for what, (low, high) in zip(("std", "gradient"), axes, strict=True)]
    lines = [f"{'layer':<{wide}}  {heads[0]:<{PLOT + 9}}  dead  {heads[1]}"]
    for layer, std, gradient in zip(shown, stds, gradients, strict=True):
        dead = f"{100 * layer.dead:3.0f}%" if layer.role == "activation" else "    "
        lines.append(
            f"{layer.name:<{wide}}  {_dot(std, axes[0])} {std:8.2g}  {dead}  {_dot(gradient, axes[1])} {gradient:8.2g}"
        )
    if len(shown) < len(found.layers):
        lines.append(f"{len(shown)} of {len(found.layers)} layers; all with --json or --out page.html")
    return lines


def decades(values: Sequence[float], least: int = 4) -> tuple[int, int]:
    """Powers of ten that enclose the numbers, `least` apart; what is zero or no number is left out.

    >>> decades([0.5, 30.0, 0.0])
    (-2, 2)
    """
    logs = [math.log10(value) for value in values if value > 0 and math.isfinite(value)] or [0.0]
    low, high = max(-30, math.floor(min(logs))), min(30, math.ceil(max(logs)))
    missing = max(0, least - (high - low))
    return low - (missing + 1) // 2, high + missing // 2


def _dot(value: float, axis: tuple[int, int]) -> str:
    """The value's place on a logarithmic axis, in letters."""
    low, high = axis
    if not value > 0:
        return "0" + "·" * (PLOT - 1)
    place = (math.log10(value) - low) / (high - low) if math.isfinite(value) else 1.0
    at = round(min(1.0, max(0.0, place)) * (PLOT - 1))
    return "·" * at + "●" + "·" * (PLOT - 1 - at)
