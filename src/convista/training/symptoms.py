"""From numbers to words: what each sign of trouble looks like, and from where on it is one.

The bounds are wide on purpose: they were set so that no network of the catalogue, at its own initialisation, has a
finding that is not so (docs/doctor.md says how close the nearest come), and so that what is broken is far beyond them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from convista.training.health import Diagnosis, Finding, LayerHealth

__all__ = ["findings_of"]

# A healthy layer's output has a standard deviation of about 1; layers that lose or win a factor in each of several are
# beyond a thousand soon, and single odd ones (a gate, a head that starts small) are not counted by the median.
FADED, GREW = 1e-3, 1e3
# By the norms of the gradients of whole maps, which initialisations aim to preserve. Pools and widening cost a factor
# of ten or so over a whole network. LeNet-5 with the weights of 1998 comes to 2e4, and learns; batch normalisation
# without shortcuts costs a fifth per layer (Yang et al. 2019): 110 plain layers come to 2e5, and hardly do.
STEEP = 1e5
# Dead units. To deep layers without normalisation all pictures look alike, so that a rectifier is off for all of them
# by the toss of a coin: a third is usual, and only what is beyond a half by so many standard deviations is a sign.
DEVIATIONS = 3
SATURATED = 0.5  # of the outputs: there the slope is less than 4 % of its largest
SPREAD = (0.3, 3.0)  # of the input's standard deviation; pixels in 0..1 have 0.2 to 0.3, in 0..255 about 60
# Nats above guessing, to be remarked and to be warned of: logits that vary by 1 cost 0.5. ResNet-110 comes to 5 because
# its sums grow from block to block, and its paper warms up for that reason (He et al. 2015, section 4.2).
SURE, FAR = 1.0, 10.0
ALIKE = 1e-6  # logits that differ less from picture to picture, by the largest of their sizes or 1: all is rounding
FEW = 8  # values of a channel, of which batch statistics say nothing


def findings_of(found: Diagnosis) -> list[Finding]:
    """What is wrong, in the order of the rules; where numbers are none, the rest says nothing and is left out."""
    broken = _not_finite(found)
    if broken:
        return [broken, *filter(None, [_input(found)])]
    return [finding for rule in RULES if (finding := rule(found)) is not None]


def _named(layers: Sequence[LayerHealth]) -> str:
    """The first layer, and how many more."""
    return layers[0].name + (f" and {len(layers) - 1} more" if len(layers) > 1 else "")


def _not_finite(found: Diagnosis) -> Finding | None:
    if not math.isfinite(found.input_mean + found.input_std):
        return Finding("not-finite", "", "The input holds values that are no numbers (NaN or infinite).", "error")
    for layer in found.layers:
        if layer.weight is not None and not math.isfinite(layer.weight):
            return Finding("not-finite", layer.name, f"The weights of {layer.name} hold NaN or infinity.", "error")
    for layer in found.layers:
        if not layer.finite:
            text = f"{layer.name} is the first layer to put out NaN or infinity."
            return Finding("not-finite", layer.name, text, "error")
    if not math.isfinite(found.loss):
        return Finding("not-finite", "", "All layers put out numbers, but the loss is none.", "error")
    for layer in reversed(found.layers):
        if not math.isfinite((layer.gradient or 0) + (layer.weight_gradient or 0)):
            text = f"On the way back, the gradient at {layer.name} is the first to be NaN or infinite."
            return Finding("not-finite", layer.name, text, "error")
    return None


def _input(found: Diagnosis) -> Finding | None:
    low, high = SPREAD
    if low <= found.input_std <= high and abs(found.input_mean) <= found.input_std:
        return None
    text = (
        f"The input is not normalised: mean {found.input_mean:.3g}, standard deviation {found.input_std:.3g}; expected "
        "about 0 and 1. Subtract the pictures' mean and divide by their standard deviation."
    )
    return Finding("input", "", text, "warning")


def _alike(found: Diagnosis) -> Finding | None:
    """Equal units that no gradient tells apart; a single layer that starts at zero on purpose does get one."""
    stuck = [layer for layer in found.weights if layer.alike and not (layer.weight == 0 and layer.weight_gradient)]
    if not stuck:
        return None
    zero = all(layer.weight == 0 for layer in stuck)
    what = "are all zero" if zero else "are the same for every unit"
    text = (
        f"The weights of {_named(stuck)} {what}: all units compute the same and stay the same. "
        "Draw them at random, for example --init he."
    )
    return Finding("zero-weights" if zero else "equal-weights", stuck[0].name, text, "error")


def _vanishing(found: Diagnosis) -> Finding | None:
    stds = [layer.std for layer in found.weights]
    if len(stds) < 3 or not 0 < statistics.median(stds[-(len(stds) // 3) :]) < FADED:
        return None
    first = next(layer for layer in found.weights if layer.std < FADED)
    text = (
        f"Activations vanish: the standard deviation is {stds[0]:.1e} behind {found.weights[0].name}, below {FADED:g} "
        f"from {first.name} on, {stds[-1]:.1e} at the end. Start with larger weights (--init he or lsuv), or normalise."
    )
    return Finding("vanishing-activations", first.name, text, "error")


def _exploding(found: Diagnosis) -> Finding | None:
    large = [layer for layer in found.weights if layer.std > GREW]
    if not large:
        return None
    worst = max(large, key=lambda layer: layer.std)
    text = (
        f"Activations explode: the standard deviation passes {GREW:g} at {large[0].name} and comes to "
        f"{worst.std:.1e} at {worst.name}. Start with smaller weights (--init he or lsuv), or normalise."
    )
    return Finding("exploding-activations", large[0].name, text, "error")


def _gradients(found: Diagnosis) -> Finding | None:
    """Along depth; layers behind a branch that starts at zero get none yet, and do not count."""
    along = [layer for layer in found.weights if layer.gradient]
    third = len(along) // 3
    if not third:
        return None
    norms = [layer.gradient or 0.0 for layer in along]
    early, late = (statistics.median(part) for part in (norms[:third], norms[-third:]))
    if 1 / STEEP <= early / late <= STEEP:
        return None
    first, last = along[0], along[-1]
    word, code = ("vanish", "vanishing-gradients") if early < late else ("explode", "exploding-gradients")
    text = (
        f"Gradients {word} on the way back: {norms[-1]:.1e} at {last.name}, {norms[0]:.1e} at {first.name}. "
        "Shortcuts, normalisation or another --init keep them even."
    )
    return Finding(code, first.name, text, "error")


def _unreached(found: Diagnosis) -> Finding | None:
    """No gradient at all; a branch behind a scale of zero that gets one will have it from the second step on."""
    learning = [layer for layer in found.layers if layer.weight_gradient is not None]
    waking = any(layer.weight == 0 and layer.weight_gradient for layer in learning)
    lost = [layer for layer in learning if layer.role == "weights" and layer.weight_gradient == 0]
    if not lost or waking or _alike(found):
        return None
    text = f"No gradient reaches {_named(lost)}: what lies behind is zero or saturated everywhere."
    return Finding("no-gradient", lost[0].name, text, "error")


def _dead(found: Diagnosis) -> Finding | None:
    acts = [layer for layer in found.layers if layer.role == "activation"]
    whole = [layer for layer in acts if layer.dead == 1]
    if whole:
        text = f"Nothing but zeros comes out of {_named(whole)}: dead. Look at the weights and biases in front."
        return Finding("dead-layer", whole[0].name, text, "error")
    many = [layer for layer in acts if layer.dead > 0.5 + DEVIATIONS * 0.5 / math.sqrt(layer.units)]
    if not many:
        return None
    worst = max(many, key=lambda layer: layer.dead)
    text = (
        f"Units are dead: {100 * worst.dead:.0f} % of the {worst.units} in {worst.name} are zero for the whole batch"
        + (f", and many in {len(many) - 1} other layers." if len(many) > 1 else ".")
    )
    return Finding("dead-units", many[0].name, text, "warning")


def _saturated(found: Diagnosis) -> Finding | None:
    full = [layer for layer in found.layers if (layer.saturated or 0) > SATURATED]
    if not full:
        return None
    text = (
        f"Saturated: {100 * (full[0].saturated or 0):.0f} % of what comes out of {_named(full)} is at the limits, "
        "where hardly a gradient passes. Normalise what comes in, or start with smaller weights."
    )
    return Finding("saturated", full[0].name, text, "warning")


def _logits(found: Diagnosis) -> Finding | None:
    head = found.weights[-1] if found.weights else None
    if head is None or head.weight == 0 or found.batch < 2:
        return None
    if found.logits_spread >= ALIKE * max(1.0, head.largest):
        return None
    text = f"All pictures get the same logits (they differ by {found.logits_spread:.1e}): the input does not arrive."
    return Finding("constant-logits", head.name, text, "error")


def _loss(found: Diagnosis) -> Finding | None:
    if found.mode == "in use" or found.loss <= found.guessing + SURE:
        return None
    text = (
        f"The loss starts at {found.loss:.3g}, guessing has {found.guessing:.2f}: the network is sure of its answers "
        "before it has learnt. Start smaller (--init lsuv, or --zero-last for residual networks), or warm up."
    )
    return Finding("loss-at-start", "", text, "warning" if found.loss > found.guessing + FAR else "note")


def _norms(test: Callable[[LayerHealth], bool]) -> Callable[[Diagnosis], list[LayerHealth]]:
    return lambda found: [layer for layer in found.layers if layer.norm is not None and test(layer)]


UNTRAINED = _norms(lambda layer: bool(layer.norm and layer.norm.untrained))
FLAT = _norms(lambda layer: bool(layer.norm and layer.norm.flat > 0.5))
FEW_VALUES = _norms(lambda layer: bool(layer.norm and layer.norm.values < FEW))
STILL = _norms(lambda layer: bool(layer.norm and layer.norm.momentum == 0))
FROZEN = _norms(lambda layer: bool(layer.norm and layer.norm.frozen))
OFF = _norms(lambda layer: bool(layer.norm and layer.norm.zero == 1 and layer.weight_gradient == 0))


def _rule(
    code: str, severity: str, pick: Callable[[Diagnosis], list[LayerHealth]], text: str
) -> Callable[[Diagnosis], Finding | None]:
    """A finding about all batch normalisations that `pick` picks."""

    def look(found: Diagnosis) -> Finding | None:
        layers = pick(found)
        return Finding(code, layers[0].name, text.format(_named(layers)), severity) if layers else None

    return look


RULES: tuple[Callable[[Diagnosis], Finding | None], ...] = (
    _input,
    _alike,
    _vanishing,
    _exploding,
    _gradients,
    _unreached,
    _dead,
    _saturated,
    _logits,
    _loss,
    _rule(
        "batchnorm-untrained",
        "error",
        UNTRAINED,
        "The running statistics of {} were never updated (mean 0, variance 1), and the network is in use.",
    ),
    _rule(
        "batchnorm-flat",
        "warning",
        FLAT,
        "Most channels that come into {} have less variance than its epsilon: it hardly normalises them.",
    ),
    _rule(
        "batchnorm-few",
        "warning",
        lambda found: FEW_VALUES(found) if found.mode == "first step" else [],
        f"Fewer than {FEW} values a channel make the statistics of {{}}: use a larger batch or larger pictures.",
    ),
    _rule("batchnorm-still", "warning", STILL, "The momentum of {} is 0: its running statistics never move."),
    _rule("batchnorm-frozen", "note", FROZEN, "Frozen, in eval mode while the network trains: {}."),
    _rule("batchnorm-off", "error", OFF, "The scale of {} is zero, and no gradient moves it."),
)
