"""Finding, for every layer of a network, the layer of a foreign state that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import Tensor

from convista.models.weights.keras_rules import KERAS_DIALECTS, renumbered
from convista.models.weights.rules import DIALECTS, Dialect, rewrite

__all__ = ["Layers", "Match", "layers_of", "match"]

Layers = dict[str, dict[str, Tensor]]
COUNTER = "num_batches_tracked"
MADE = "/norm"  # marks a normalisation that `folded` made
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
LAST = ("classifier", "fc", "head", "last_linear", "linear", "classif", "output", "predictions")
SIDE = re.compile(r"(^|\.)(downsample|shortcut|skip|skipbn|identity_conv|proj)(\.|$)")


@dataclass(frozen=True)
class Match:
    """Which of their layers is which of ours: `pairs` maps our names to theirs."""

    pairs: dict[str, str]
    by: str


def layers_of(state: Mapping[str, Tensor]) -> Layers:
    """The tensors of a state, gathered by layer, without the prefixes that wrappers leave."""
    state = dict(state)
    while wrapped := [p for p in WRAPPERS if state and all(key.startswith(p) for key in state)]:
        state = {key.removeprefix(wrapped[0]): value for key, value in state.items()}
    layers: Layers = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        layers.setdefault(layer, {})[kind] = value
    return layers


def match(ours: Layers, theirs: Layers, ordered: bool) -> Match:
    """The best reading of `theirs`: by name, by the rules of a dialect, or by order and shape, in this order.

    `ordered` says that the layers of `theirs` come in the order in which they were defined; where a file has lost that
    order, the natural order of the names stands for it.
    """
    best, first, last = Match({}, "name"), next(iter(ours)), next(reversed(ours))
    for candidate in _candidates(ours, theirs, ordered):
        fitting = {o: t for o, t in candidate.pairs.items() if _fits(ours[o], theirs[t], o == first)}
        whole = len(candidate.pairs) == len(ours) and ours.keys() - fitting.keys() <= {last}
        if whole or len(fitting) > len(best.pairs):
            best = Match(fitting, candidate.by)
        if whole:  # the head may be one for other classes
            break
    return best


def _candidates(ours: Layers, theirs: Layers, ordered: bool) -> Iterator[Match]:
    yield Match({name: name for name in ours if name in theirs}, "name")
    for dialects in DIALECTS.values():
        for dialect in dialects:
            pairs = {new: name for name in theirs if (new := _in_our_words(name, dialect)) in ours}
            if 2 * len(pairs) > len(ours):
                yield Match(pairs, "rules")
    numbered = renumbered(theirs)
    for dialects in KERAS_DIALECTS.values():
        for dialect in dialects:
            pairs = {new: name for name in theirs if (new := rewrite(numbered[name], dialect)) in ours}
            if 2 * len(pairs) > len(ours):
                yield Match(pairs, "rules")
    if not ordered and _ambiguous(theirs):
        return
    names = list(theirs) if ordered else sorted(theirs, key=_natural)
    for sequence in (names, _side_last(names)):
        yield Match(_aligned(ours, {name: theirs[name] for name in sequence}), "order")


def _in_our_words(name: str, dialect: Dialect) -> str:
    new = rewrite(name.removesuffix(MADE), dialect)
    return f"{new.removesuffix('.conv')}.norm" if name.endswith(MADE) else new


def _ambiguous(theirs: Layers) -> bool:
    """Whether layers of equal shape have names that differ in more than numbers, so that nothing says their order."""
    words: dict[object, set[str]] = {}
    for name, layer in theirs.items():
        weight = layer.get("weight")
        if weight is not None and weight.ndim > 1:
            words.setdefault((weight.shape, tuple(sorted(layer))), set()).add(re.sub(r"[\d.]+", "", name))
    return any(len(names) > 1 for names in words.values())


def _natural(name: str) -> tuple[object, ...]:
    """Numbers by value, heads behind everything else."""
    first = name.partition(".")[0]
    parts = re.split(r"(\d+)", name)
    return (first in LAST, *((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts))


def _side_last(names: list[str]) -> list[str]:
    """Every shortcut behind the other layers of its block, as our tables have it."""
    ordered: list[str] = []
    waiting: list[tuple[str, str]] = []  # (block, layer)
    for name in [*names, ""]:
        still = [(block, side) for block, side in waiting if name.startswith(block)]
        ordered += [side for block, side in waiting if (block, side) not in still]
        waiting = still
        found = SIDE.search(name)
        if found:
            waiting.append((name[: found.start() + len(found[1])], name))
        elif name:
            ordered.append(name)
    return ordered


def _aligned(ours: Layers, theirs: Layers) -> dict[str, str]:
    """Layers of equal signature in equal order; where the sequences differ, the longest common stretches."""
    a, b = list(ours), list(theirs)
    signatures_a, signatures_b = _signatures(list(ours.values())), _signatures(list(theirs.values()))
    if signatures_a == signatures_b:
        return dict(zip(a, b, strict=True))
    blocks = SequenceMatcher(None, signatures_a, signatures_b, autojunk=False).get_matching_blocks()
    return {a[i + k]: b[j + k] for i, j, size in blocks for k in range(size)}


def _signatures(layers: list[dict[str, Tensor]]) -> list[object]:
    """What must agree: kinds and sizes; of the first layer not the channels, of the last not the classes."""
    found: list[object] = []
    for i, layer in enumerate(layers):
        kinds = tuple(sorted(kind for kind in layer if kind != COUNTER))
        weight = layer.get("weight", next(iter(layer.values())))
        if weight.ndim == 0:
            found.append(kinds)
        elif i == 0 and weight.ndim == 4:
            found.append((kinds, weight.shape[0], weight.shape[2:]))
        elif i == len(layers) - 1 and weight.ndim >= 2:
            found.append((kinds, weight.numel() // weight.shape[0]))
        else:
            found.append((kinds, weight.shape[:1], weight.numel()))
    return found


def _fits(ours: dict[str, Tensor], theirs: dict[str, Tensor], first: bool) -> bool:
    """Whether a layer has what ours needs: the same kinds, where a bias too many can be folded, and the same sizes."""
    needed = {kind for kind in ours if kind != COUNTER}
    extra = {kind for kind in theirs if kind != COUNTER} - needed
    return needed <= theirs.keys() and extra <= {"bias"} and all(same(ours[k], theirs[k], first) for k in needed)


def same(ours: Tensor, theirs: Tensor, first: bool = False) -> bool:
    """Whether one tensor can stand for the other; of the first convolution the channels may differ."""
    if ours.shape[:1] != theirs.shape[:1]:
        return False
    return ours.numel() == theirs.numel() or (
        first and ours.ndim == theirs.ndim == 4 and ours.shape[2:] == theirs.shape[2:]
    )


def folded(theirs: Layers) -> Layers:
    """A state without normalisation, its convolutions' biases made normalisations that change nothing else.

    Behind each convolution with a bias comes a layer marked `MADE` with that bias, weight and variance 1 and mean 0.
    """
    made: Layers = {}
    for name, layer in theirs.items():
        if "bias" not in layer or "weight" not in layer or layer["weight"].ndim != 4:
            made[name] = layer
            continue
        bias = layer["bias"]
        made[name] = {"weight": layer["weight"]}
        ones, zeros = torch.ones_like(bias), torch.zeros_like(bias)
        made[name + MADE] = {"weight": ones, "bias": bias, "running_mean": zeros, "running_var": ones}
    return made
