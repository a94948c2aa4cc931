"""Bringing the tensors of a foreign state into a network: all or nothing, with a report."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from convista.errors import WeightsError
from convista.models.weights.match import COUNTER, MADE, Layers, folded, layers_of, match
from convista.models.weights.report import WeightsReport

__all__ = ["fill", "port"]


def port(ours: nn.Module, theirs: nn.Module, partial: bool = False) -> WeightsReport:
    """Fills `ours` in place with the weights of `theirs`, another library's module of the same network.

    Layers are matched by name, by the rules of torchvision's and timm's names, or by order and shape. Where `theirs`
    normalises with other constants (`eps`, `momentum`), ours take them over. Raises `WeightsError`, having changed
    nothing, when a layer of ours finds no partner, or one that strides, groups or pads otherwise; `partial=True` takes
    what there is.

    >>> from convista.models import create
    >>> print(port(create("resnet20"), create("resnet20")))
    116 tensors loaded from Net, matched by name
      nothing missing, unexpected or reshaped
    """
    plan = _planned(ours, theirs.state_dict(), ordered=True)
    partners = _partners(ours, theirs, plan.pairs)
    differing = [line for name, (a, b) in partners.items() for line in _differences(name, a, b)]
    if differing and not partial:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise WeightsError(
            "These are not the same network, though the shapes of their weights are: "
            f"{'; '.join(differing[:3])}{more}. Nothing was changed."
        )
    report = _done(ours, plan, partial, head_may_differ=False)
    notes = _take_over(ours, partners)
    return replace(report, source=type(theirs).__name__, notes=(*report.notes, *differing, *notes))


def fill(
    net: nn.Module, state: dict[str, Tensor], ordered: bool, partial: bool = False, head_may_differ: bool = False
) -> WeightsReport:
    """Fills `net` in place from a state of foreign or own names, all or nothing. Raises `WeightsError`.

    With `head_may_differ` a last layer for another number of classes stays as it is and counts as missing. Auxiliary
    heads that `net` does not have are listed as unexpected, which is no fault.
    """
    return _done(net, _planned(net, state, ordered), partial, head_may_differ)


@dataclass(frozen=True)
class Plan:
    """What would come in: tensors by our names, pairs of layers (ours -> theirs), the report, and our last layer."""

    new: dict[str, Tensor]
    pairs: dict[str, str]
    report: WeightsReport
    last: str


def _planned(net: nn.Module, state: dict[str, Tensor], ordered: bool) -> Plan:
    ours, theirs = layers_of(net.state_dict()), layers_of(state)
    normalised = any("running_mean" in layer for layer in ours.values())
    if normalised and not any("running_mean" in layer for layer in theirs.values()):
        theirs = folded(theirs)
    found = match(ours, theirs, ordered)
    new: dict[str, Tensor] = {}
    reshaped: list[str] = []
    for name, partner in found.pairs.items():
        _fit_layer(name, ours[name], theirs[partner], new, reshaped)
    homeless = _fold_biases(net, found.pairs, theirs, new)
    missing = tuple(key for key in net.state_dict() if key not in new and not key.endswith(COUNTER))
    used = set(found.pairs.values())
    unexpected = tuple(f"{name}.{kind}" for name in theirs if name not in used for kind in theirs[name])
    report = WeightsReport(tuple(new), missing, unexpected + homeless, tuple(reshaped), found.by)
    return Plan(new, found.pairs, report, list(ours)[-1])


def _done(net: nn.Module, plan: Plan, partial: bool, head_may_differ: bool) -> WeightsReport:
    if plan.report.by == "order" and len(plan.report.loaded) < len(plan.report.unexpected):
        raise WeightsError(
            f"Only {len(plan.report.loaded)} of {len(plan.report.loaded) + len(plan.report.unexpected)} tensors would "
            "find a place by order and shape: these are the weights of another network. Nothing was changed."
        )
    head = head_may_differ and plan.last not in plan.pairs
    _refuse_partial(plan.report, plan.last if head else None, partial)
    _refuse_broken(plan.new)
    _copy(net, plan.new)
    return plan.report


def _partners(ours: nn.Module, theirs: nn.Module, pairs: dict[str, str]) -> dict[str, tuple[nn.Module, nn.Module]]:
    mine, other = dict(ours.named_modules()), dict(theirs.named_modules())
    return {name: (mine[name], other[partner]) for name, partner in pairs.items() if partner in other}


def _differences(name: str, ours: nn.Module, theirs: nn.Module) -> list[str]:
    """In what two convolutions of the same shape are not the same."""
    if not (isinstance(ours, nn.Conv2d) and isinstance(theirs, nn.Conv2d)) or ours.kernel_size != theirs.kernel_size:
        return []
    words = ["stride", "groups", "dilation", *(["padding"] if ours.kernel_size != (1, 1) else [])]
    found = ((word, getattr(ours, word), getattr(theirs, word)) for word in words)
    return [f"{name} has {word} {mine}, its partner {other}" for word, mine, other in found if mine != other]


def _take_over(ours: nn.Module, partners: dict[str, tuple[nn.Module, nn.Module]]) -> tuple[str, ...]:
    """Gives each normalisation the constants of its partner, and the table those that all share."""
    norms = [(a, b) for a, b in partners.values() if isinstance(a, nn.BatchNorm2d) and isinstance(b, nn.BatchNorm2d)]
    if all((a.eps, a.momentum) == (b.eps, b.momentum) for a, b in norms):
        return ()
    for mine, other in norms:
        mine.eps, mine.momentum = other.eps, other.momentum
    constants = {(other.eps, other.momentum) for _, other in norms}
    if len(constants) > 1:
        return ("normalisation has constants that differ from layer to layer, which the table does not say",)
    eps, momentum = constants.pop()
    spec = getattr(ours, "spec", None)
    if spec is not None:
        ours.spec = spec.with_norm(eps, momentum)
    return (f"normalisation now has eps {eps:g} and momentum {momentum:g}",)


def _fit_layer(
    name: str, ours: dict[str, Tensor], theirs: dict[str, Tensor], new: dict[str, Tensor], told: list[str]
) -> None:
    for kind, old in ours.items():
        value = theirs.get(kind)
        if value is None:
            continue
        key = f"{name}.{kind}"
        if value.shape == old.shape:
            new[key] = value
        elif value.numel() == old.numel():
            new[key] = value.reshape(old.shape)
            told.append(f"{key}: {tuple(value.shape)} as {tuple(old.shape)}")
        else:  # the first convolution
            new[key] = with_channels(value, old.shape[1])
            told.append(f"{key}: weights for {value.shape[1]} channels adapted to {old.shape[1]}")


def with_channels(weight: Tensor, channels: int) -> Tensor:
    """The weights (out, in, h, w) of a first convolution for pictures of `channels` channels.

    For grey the sum over colours, which answers as if the grey were in each; for more, the colours again and again,
    scaled so that the sum over all channels stays as large.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    times = -(-channels // weight.shape[1])
    return weight.repeat(1, times, 1, 1)[:, :channels] * (weight.shape[1] / channels)


def _fold_biases(net: nn.Module, pairs: dict[str, str], theirs: Layers, new: dict[str, Tensor]) -> tuple[str, ...]:
    """A convolution's bias for which we have no place moves into the normalisation behind it.

    Returns the names of those behind which there is none.
    """
    homeless = []
    for name, partner in pairs.items():
        if "bias" in theirs[partner] and f"{name}.bias" not in new:
            mean = f"{_norm_behind(net, name)}.running_mean"
            if mean in new:
                new[mean] = new[mean] - theirs[partner]["bias"]
            else:
                homeless.append(f"{partner}.bias")
        if partner.endswith(MADE):
            eps: float = net.get_submodule(name).eps  # type: ignore[assignment]
            new[f"{name}.running_var"] = new[f"{name}.running_var"] - eps
    return tuple(homeless)


def _norm_behind(net: nn.Module, name: str) -> str:
    """The normalisation that directly follows a convolution in its block; empty where there is none."""
    parent, _, leaf = name.rpartition(".")
    names = [child for child, _ in net.get_submodule(parent).named_children()]
    following = names[names.index(leaf) + 1 :][:1]
    return f"{parent}.norm" if following == ["norm"] else ""


def _refuse_partial(report: WeightsReport, head: str | None, partial: bool) -> None:
    """Nothing may be missing but the `head`, nothing left over but its partner and heads on the side."""
    missing = tuple(key for key in report.missing if head is None or key.rpartition(".")[0] != head)
    extra = [key for key in report.unexpected if not key.lower().startswith("aux")]
    partners = {key.rpartition(".")[0] for key in extra}
    spare = head is not None and len(partners) <= 1
    if (missing or (extra and not spare)) and not partial:
        said = str(replace(report, missing=missing or report.missing)).replace("loaded", "would load", 1)
        hint = "" if head else " In Python, create(…, classes=…) makes another number of classes."
        raise WeightsError(
            f"The weights do not fit the network. {said}\nNothing was changed. In Python, partial=True takes what "
            f"fits.{hint}"
        )


def _refuse_broken(new: dict[str, Tensor]) -> None:
    for key, value in new.items():
        if key.endswith(COUNTER):
            continue
        if not value.is_floating_point():
            raise WeightsError(f"{key} holds {value.dtype} numbers, without the scale that makes them weights.")
        if not bool(value.isfinite().all()):
            raise WeightsError(f"{key} holds values that are no numbers. Nothing was changed.")


def _copy(net: nn.Module, new: dict[str, Tensor]) -> None:
    state = net.state_dict()
    with torch.no_grad():
        for key, value in new.items():
            state[key].copy_(value)
