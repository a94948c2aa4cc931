"""What networks cost, as pages that open offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convista.catalogue import Budget, amount, catalogue, comparable
from convista.pricing import Excluded, Picked, beside
from convista.records import Cost
from convista.reports.accuracy import accuracy_plot
from convista.reports.page import template

__all__ = ["budget_page", "price_page"]


@dataclass(frozen=True)
class Bars:
    """A place in one or two networks: for parameters, MACs and bytes a (figure, share of the widest) each."""

    place: str
    output: str
    layers: str
    pairs: tuple[tuple[tuple[int, float] | None, ...], ...]


def price_page(price: Cost, other: Cost | None, facts: Sequence[tuple[str, str]]) -> str:
    """A network's price: bars per stage, all layers, and where it stands among the published ones.

    `other` puts a second network beside it; `facts` are (word, sentence).
    """
    known = catalogue().get(price.model)
    dataset = known.dataset if known else comparable([])
    marks = {"macs": float(price.macs)}
    if known is not None and known.top1 and price.image[-1] == known.image:
        marks["top1"] = known.top1
    return template("price.html").render(
        price=price,
        other=other,
        facts=facts,
        bars=_bars(price, other),
        plot=accuracy_plot(catalogue().values(), dataset, marks, price.model),
    )


def _bars(price: Cost, other: Cost | None) -> list[Bars]:
    if other is None:
        rows = [
            (s.name, " x ".join(map(str, s.shape)), s.layers, [(s.params, s.macs, s.activation_bytes)])
            for s in price.stages
        ]
    else:
        rows = [(row.place, "", "", [row.first, row.second]) for row in beside(price, other)]  # type: ignore[list-item]
    widest = [max((side[i] for *_, sides in rows for side in sides if side), default=1) or 1 for i in range(3)]
    return [
        Bars(
            place,
            output,
            layers,
            tuple(tuple(side and (side[i], side[i] / widest[i]) for side in sides) for i in range(3)),
        )
        for place, output, layers, sides in rows
    ]


def budget_page(fits: Sequence[Picked], excluded: Sequence[Excluded], budget: Budget) -> str:
    """The networks that fit a budget, and the budget drawn into accuracy against cost."""
    rows = catalogue().values()
    dataset = comparable(rows, budget.family)
    marks: dict[str, float] = {}
    if budget.max_macs is not None:
        marks["macs"] = amount("max_macs", budget.max_macs)
    if budget.min_top1 is not None:
        marks["top1"] = budget.min_top1
    words = {key: value for key, value in vars(budget).items() if value not in (None, False)}
    plot = accuracy_plot(rows, dataset, marks, "budget", {network.name for network in fits})
    return template("budget.html").render(fits=fits, excluded=excluded, words=words, plot=plot)
