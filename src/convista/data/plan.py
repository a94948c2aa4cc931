"""What one picture goes through: drawn before any pixel is read, then done to all that belongs to the picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convista.data import geometry as g
from convista.data.chance import draws, offsets
from convista.data.policy import Act, Policy
from convista.data.values import Blur, Erase, Histogram, Linear, Noise, Sharpness, Step, Table
from convista.records import View

__all__ = ["Plan", "plans"]

FIRST = 3  # numbers for a crop's place and for the mirror, in every policy
EACH = 10  # numbers for each operation
AUTOMATIC = (
    ("identity", 0.0, 0.0),  # word, its amount at full strength in RandAugment and in TrivialAugment
    ("autocontrast", 0, 0), ("equalize", 0, 0), ("rotate", 30, 135), ("solarize", 0, 0), ("saturation", 0.9, 0.99),
    ("posterize", 4, 2), ("contrast", 0.9, 0.99), ("brightness", 0.9, 0.99), ("sharpness", 0.9, 0.99),
    ("shear_x", 0.3, 0.99), ("shear_y", 0.3, 0.99), ("translate_x", 150 / 331, 32), ("translate_y", 150 / 331, 32),
)  # fmt: skip


@dataclass
class Plan:
    """The drawn decisions for one picture.

    `window` (left, top, width, height) of the stored picture is what is looked at, `mirrored` says whether it is
    mirrored, `warp` moves it about within the result's frame (None: not at all), `steps` change its values.
    """

    side: int
    channels: int
    window: tuple[int, int, int, int]
    paint: tuple[int, ...]
    mirrored: bool = False
    warp: NDArray[np.float64] | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3): places in the result -> places in the stored picture."""
        matrix = g.window(*self.window, self.side)
        if self.warp is not None:
            matrix = matrix @ self.warp
        return matrix @ g.mirror(self.side) if self.mirrored else matrix

    def image(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The stored picture (H, W, C) -> (side, side, C)."""
        result = self.placed(picture)
        for step in self.steps:
            result = step(result)
        return result

    def placed(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The moves alone, without the steps."""
        if self.warp is not None:
            return g.moved(picture, self.matrix, self.side)
        left, top, width, height = self.window
        if width == height == self.side:
            result = g.crop(picture, top, left, self.side)
        else:
            result = g.resize(picture[top : top + height, left : left + width], self.side, self.side)
        return g.flipped(result) if self.mirrored else result

    def mask(self, mask: NDArray[np.integer], outside: int = 255) -> NDArray[np.integer]:
        """The picture's class numbers (H, W) -> (side, side); `outside` where nothing is known."""
        return g.warp_mask(mask, self.matrix, self.side, outside)

    def boxes(self, boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Boxes (n, 4) as (x1, y1, x2, y2) in pixels -> those still seen, and their numbers; see `move_boxes`."""
        return g.move_boxes(boxes, self.matrix, self.side)

    def points(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Places (n, 2) as (x, y) in pixels -> where they are now, and whether that is inside the picture."""
        places = g.move_points(points, self.matrix)
        return places, np.asarray(((places >= 0) & (places < self.side)).all(1))

    def move(self, matrix: NDArray[np.float64]) -> None:
        """One more move, about the middle of the frame, behind those before it."""
        matrix = g.about(matrix, self.side)
        self.warp = matrix if self.warp is None else self.warp @ matrix

    def add(self, step: Step) -> None:
        """One more step; it becomes one with the last where both are linear or both are tables."""
        last = self.steps[-1] if self.steps else None
        if isinstance(step, Linear) and isinstance(last, Linear):
            self.steps[-1] = step.after(last)
        elif isinstance(step, Table) and isinstance(last, Table):
            self.steps[-1] = Table(np.take_along_axis(step.values, last.values.astype(np.int64), 0))
        else:
            self.steps.append(step)


def plans(policy: Policy, view: View, seed: int, epoch: int, indices: NDArray[np.int64]) -> list[Plan]:
    """A plan for each picture, a pure function of (seed, epoch, index)."""
    numbers = draws(seed, epoch, indices, FIRST + EACH * len(policy.acts))
    parity = draws(seed, 0, indices, FIRST)[:, 2] < 0.5 if policy.has("alternate") else np.zeros(len(indices), bool)
    return [_plan(policy, view, row, bool(odd) ^ bool(epoch % 2)) for row, odd in zip(numbers, parity, strict=True)]


def _plan(policy: Policy, view: View, numbers: NDArray[np.float64], turn: bool) -> Plan:
    slack = (view.stored - view.image) // 2
    paint = tuple(round(255 * mean) for mean in view.mean)
    plan = Plan(view.image, view.channels, (slack, slack, view.image, view.image), paint)
    for i, act in enumerate(policy.acts):
        u = numbers[FIRST + EACH * i : FIRST + EACH * (i + 1)]
        if act.word == "crop":
            left, top = (int(offset) for offset in crop_place(view, numbers[1::-1]))
            plan.window = (left, top, view.image, view.image)
        elif act.word == "resized":
            plan.window = _resized_window(view, act, u)
        elif act.word == "flip":
            plan.mirrored = bool(numbers[2] < act.chance)
        elif act.word == "alternate":
            plan.mirrored = turn
        elif act.word in ("rand", "trivial"):
            _automatic(plan, act, u)
        elif u[0] < act.chance:
            OPERATIONS[act.word](plan, act.amount or 0.0, 2 * u[1:] - 1)
    return plan


def crop_place(view: View, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers in [0, 1) -> where a window of the network's side begins in the stored picture, in pixels."""
    slack = view.stored - view.image
    margin = 0 if slack else view.image // 8  # of pictures that are stored no larger, it reaches beyond
    return offsets(numbers, slack + 2 * margin) - margin


def _resized_window(view: View, act: Act, u: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Inception's crop (Szegedy et al. 2015): a share of the area, with sides between 3:4 and 4:3."""
    if u[0] >= act.chance:
        slack = (view.stored - view.image) // 2
        return (slack, slack, view.image, view.image)
    least = act.amount or 0.0
    area = (least + (1 - least) * u[1]) * view.stored**2
    ratio = math.exp((2 * u[2] - 1) * math.log(4 / 3))
    width, height = (min(view.stored, max(1, round(math.sqrt(area * r)))) for r in (ratio, 1 / ratio))
    left, top = (int(u[i] * (view.stored - size + 1)) for i, size in ((3, width), (4, height)))
    return left, top, width, height


def _automatic(plan: Plan, act: Act, u: NDArray[np.float64]) -> None:
    """RandAugment (Cubuk et al. 2020) with two operations; TrivialAugment, wide (Müller & Hutter 2021), with one."""
    if u[0] >= act.chance:
        return
    for i in range(2 if act.word == "rand" else 1):
        which, strength, sign = u[1 + 3 * i : 4 + 3 * i]
        word, *full = AUTOMATIC[int(which * len(AUTOMATIC))]
        amount = full[act.word == "trivial"]
        if word.startswith("translate") and amount > 1:  # pixels
            amount = min(amount / plan.side, AUTOMATIC[-1][1])
        level = (act.amount or 0.0) / 30 if act.word == "rand" else int(strength * 31) / 30
        if word.startswith("shear"):  # the slope grows with the strength, not the angle
            amount, level = math.degrees(math.atan(amount * level)), 1.0
        if word != "identity":
            OPERATIONS[word](plan, amount, np.full(8, level if sign < 0.5 else -level))


def _linear(step: Callable[[float, int], Linear]) -> Callable[[Plan, float, Any], None]:
    return lambda plan, amount, s: plan.add(step(1 + amount * s[0], plan.channels))


def _coloured(step: Callable[[float], Linear]) -> Callable[[Plan, float, Any], None]:
    return lambda plan, amount, s: plan.add(step(amount * s[0])) if plan.channels == 3 else None


def _perspective(plan: Plan, amount: float, s: NDArray[np.float64]) -> None:
    moves = np.abs(s[:8]).reshape(4, 2) * amount * plan.side / 2
    half = plan.side / 2
    plan.move(g.shift(half, half) @ g.perspective(moves, plan.side) @ g.shift(-half, -half))


def _posterize(plan: Plan, amount: float, s: NDArray[np.float64]) -> None:
    bits = 8 - round(abs(s[0]) * (8 - amount))
    plan.add(Table.of(lambda x: (x >> (8 - bits) << (8 - bits)).astype(float), plan.channels))


def _solarize(plan: Plan, amount: float, s: NDArray[np.float64]) -> None:
    threshold = 256 - abs(s[0]) * (256 - amount)
    plan.add(Table.of(lambda x: np.where(x >= threshold, 255.0 - x, x), plan.channels))


def _erase(plan: Plan, amount: float, s: NDArray[np.float64]) -> None:
    """Random erasing (Zhong et al. 2017): from a fiftieth of the area, sides between 3:10 and 10:3."""
    share, ratio = 0.02 + abs(s[0]) * (amount - 0.02), math.exp(s[1] * math.log(10 / 3))
    width, height = (min(plan.side, max(1, round(plan.side * math.sqrt(share * r)))) for r in (ratio, 1 / ratio))
    left, top = (int((s[i] + 1) / 2 * (plan.side - size + 1)) for i, size in ((2, width), (3, height)))
    plan.add(Erase((left, top, left + width, top + height), plan.paint))


def _cutout(plan: Plan, amount: float, s: NDArray[np.float64]) -> None:
    """Cutout (DeVries & Taylor 2017): the square's middle lies anywhere, so that parts of it may be outside."""
    half = amount * plan.side / 2
    x, y = ((s[i] + 1) / 2 * plan.side for i in (0, 1))
    box = [min(plan.side, max(0, round(edge))) for edge in (x - half, y - half, x + half, y + half)]
    plan.add(Erase((box[0], box[1], box[2], box[3]), plan.paint))


def _shifted(plan: Plan, amount: float, s: NDArray[np.float64]) -> None:
    plan.add(Linear.of(np.eye(plan.channels), amount * s[: plan.channels]))


OPERATIONS: dict[str, Callable[[Plan, float, Any], None]] = {
    "rotate": lambda plan, amount, s: plan.move(g.rotation(amount * s[0])),
    "shear": lambda plan, amount, s: plan.move(g.shearing(amount * s[0], 0) @ g.shearing(0, amount * s[1])),
    "shear_x": lambda plan, amount, s: plan.move(g.shearing(amount * s[0], 0)),
    "shear_y": lambda plan, amount, s: plan.move(g.shearing(0, amount * s[0])),
    "zoom": lambda plan, amount, s: plan.move(g.zooming((1 + amount) ** s[0])),
    "translate": lambda plan, amount, s: plan.move(g.shift(amount * plan.side * s[0], amount * plan.side * s[1])),
    "translate_x": lambda plan, amount, s: plan.move(g.shift(amount * plan.side * s[0], 0)),
    "translate_y": lambda plan, amount, s: plan.move(g.shift(0, amount * plan.side * s[0])),
    "perspective": _perspective,
    "brightness": _linear(lambda factor, channels: Linear.of(factor * np.eye(channels))),
    "contrast": _linear(Linear.contrast),
    "saturation": _linear(Linear.saturation),
    "hue": _coloured(Linear.hue),
    "shift": _shifted,
    "grey": lambda plan, amount, s: plan.add(Linear.saturation(0, plan.channels)),
    "invert": lambda plan, amount, s: plan.add(Table.of(lambda x: 255.0 - x, plan.channels)),
    "posterize": _posterize,
    "solarize": _solarize,
    "equalize": lambda plan, amount, s: plan.add(Histogram("equalize")),
    "autocontrast": lambda plan, amount, s: plan.add(Histogram("autocontrast")),
    "sharpness": lambda plan, amount, s: plan.add(Sharpness(1 + amount * s[0])),
    "blur": lambda plan, amount, s: plan.add(Blur(amount * abs(s[0]))),
    "noise": lambda plan, amount, s: plan.add(Noise(amount * abs(s[0]), int((s[1] + 1) * 2**52))),
    "erase": _erase,
    "cutout": _cutout,
}
