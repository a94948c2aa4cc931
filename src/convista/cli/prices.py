"""The prices of networks as text for the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from convista.catalogue import Budget
from convista.cli.tables import size, table
from convista.pricing import Choice, Claim, Latency, Scaled, WhatIf, beside
from convista.records import Cost, CostRow, Memory
from convista.reports import budget_page, price_page

__all__ = [
    "beside_text",
    "choice_page",
    "choice_text",
    "claims_text",
    "csv_text",
    "layer_text",
    "many_text",
    "page",
    "scaled_text",
    "text",
    "vs_text",
    "what_if_page",
    "what_if_text",
]

BAR = 16  # letters of the longest bar


def text(price: Cost, more: Mapping[str, Any], layers: bool = False) -> str:
    """One network: its stages or layers, and the figures below."""
    lines = [f"{price.model}, one input of {_shape(price.image)}", "", _layers(price) if layers else _stages(price), ""]
    return "\n".join([*lines, *_facts(price), *_memory(more), *_speed(more.get("latency"))])


def _stages(price: Cost) -> str:
    most = max((stage.macs for stage in price.stages), default=0) or 1
    head = ("stage", "output", "parameters", "MACs", "", "share", "saved for backward")
    body = [
        (
            stage.name, _shape(stage.shape), f"{stage.params:,}", f"{stage.macs:,}",
            "█" * round(BAR * stage.macs / most), _share(stage.macs, price.macs), size(stage.activation_bytes),
        )
        for stage in price.stages
    ]  # fmt: skip
    total = ("total", "", f"{price.params:,}", f"{price.macs:,}", "", "", size(price.activation_bytes_train))
    return table([head, *body, total], left=(0, 4))


def _layers(price: Cost) -> str:
    head = ("layer", "kind", "output", "parameters", "MACs", "other FLOPs", "saved", "receptive field", "stride")
    body = [
        (
            row.name + (f" (x{row.calls})" if row.calls > 1 else ""), row.kind, _shape(row.shape), f"{row.params:,}",
            f"{row.macs:,}", f"{sum(row.other_flops.values()):,}", size(row.activation_bytes),
            _field(row.receptive_field, row.sees_all), "" if row.stride is None else _shape(row.stride),
        )
        for row in price.rows
    ]  # fmt: skip
    return table([head, *body], left=(0, 1))


def _field(field: tuple[int, ...] | None, all_of_it: bool) -> str:
    return _shape(field) if field is not None else "all" if all_of_it else "?"


def _shape(shape: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in shape)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _facts(price: Cost) -> list[str]:
    other = ", ".join(f"{kind} {flops:,}" for kind, flops in price.other_flops.items())
    lines = [
        f"parameters       {price.params:,}",
        f"work             {price.macs:,} MACs (multiply-accumulates) = {price.flops:,} FLOPs (2 x MACs)",
        f"besides          {other or 'nothing'} (FLOPs, not in the line above)",
    ]
    if price.receptive_field is not None:
        windows = ""
        if price.sees_all:
            windows = " through its windows, the whole picture through gates or statistics of all positions"
        where = f", every {price.stride:g} pixels, at {price.last_map.strip('()')}"
        lines.append(f"receptive field  {price.receptive_field} pixels a side{windows}{where}")
    else:
        lines.append("receptive field  not known: no map whose positions can be followed to the end")
    lines.append(f"inference        {size(price.peak_bytes_infer)} at its worst moment, weights and one input included")
    if price.uncounted:
        lines.append(f"UNCOUNTED        {', '.join(price.uncounted)}: what they cost is not known")
    return lines


def _memory(more: Mapping[str, Any]) -> list[str]:
    need: Memory | None = more.get("memory")
    if need is None:
        return []
    lines = [
        f"training         {size(need.peak_train)} at its worst moment on {need.batch} inputs, fp32, {need.optimizer}: "
        f"weights {size(need.weights)}, gradients {size(need.gradients)}, optimizer "
        f"{size(need.optimizer_state)}, saved for backward {size(need.activations)} (not all at the same moment; "
        "workspaces of kernels come on top)"
    ]
    if fits := more.get("fits"):
        train, infer = (f"{n:,}" if n else "none" for n in (fits["train"], fits["infer"]))
        lines.append(f"fits {size(fits['bytes']):<12}largest batch in training {train}, in inference {infer}")
    return lines


def _speed(found: Latency | None) -> list[str]:
    if found is None:
        return []
    threads = f" with {found.threads} threads" if found.threads else ""
    quartiles = f"best {found.best:.1f}, quartiles {found.quarter:.1f} to {found.three_quarters:.1f}, {found.runs} runs"
    return [
        f"measured         {found.ms:.1f} ms for {found.batch} ({quartiles}) on {found.device}{threads}: at its best "
        f"{100 * found.peak_share:.0f} % of the {found.peak_gflops:,.0f} GFLOP/s that a matrix product reaches here"
    ]


def layer_text(row: CostRow) -> str:
    """One layer, and what its units see."""
    seen = "the whole picture, each of them" if row.sees_all else "what is not known"
    if row.receptive_field and row.stride and row.padding:
        gates = ", and the whole picture through gates or statistics" if row.sees_all else ""
        seen = (
            f"{_shape(row.receptive_field)} pixels each{gates}, {_shape(row.stride)} pixels apart; the first one "
            f"{_shape(row.padding)} pixels beyond the picture's edge"
        )
    other = ", ".join(f"{kind} {flops:,}" for kind, flops in row.other_flops.items())
    return "\n".join(
        [
            f"{row.name} ({row.kind}), runs {row.calls} time{'s' * (row.calls != 1)}",
            f"output      {_shape(row.shape)}",
            f"parameters  {row.params:,}",
            f"work        {row.macs:,} MACs{f'; FLOPs besides: {other}' if other else ''}",
            f"saved       {size(row.activation_bytes)} for backward",
            f"units see   {seen}",
        ]
    )


def many_text(prices: Sequence[Cost]) -> str:
    """A line for each network."""
    head = ("network", "image", "parameters", "MACs", "saved for backward", "inference", "receptive field")
    body = [
        (
            p.model, _shape(p.image), f"{p.params:,}", f"{p.macs:,}", size(p.activation_bytes_train),
            size(p.peak_bytes_infer), "–" if p.receptive_field is None else str(p.receptive_field),
        )
        for p in prices
    ]  # fmt: skip
    note = "One picture each; MACs: multiply-accumulates (1 MAC = 2 FLOPs) of convolutions and matrix products."
    return table([head, *body], left=(0,)) + f"\n{note}"


def beside_text(first: Cost, second: Cost, names: tuple[str, str] | None = None) -> str:
    """Two networks, stage by stage, under their names or those given."""
    a, b = names or (first.model, second.model)
    head = ("", "parameters", "", "MACs", "", "saved for backward", "")
    body = [(row.place, *_pairs(row.first, row.second)) for row in beside(first, second)]
    body.append(("total", *_pairs(*((p.params, p.macs, p.activation_bytes_train) for p in (first, second)))))
    body.append(("ratio", *_ratios(first, second)))
    seen = [f"{name} {p.receptive_field}" for name, p in ((a, first), (b, second)) if p.receptive_field]
    field = f"\nreceptive field in pixels: {', '.join(seen)}" if seen else ""
    return table([head, ("", a, b, a, b, a, b), *body], left=(0,)) + field


def _pairs(a: tuple[int, int, int] | None, b: tuple[int, int, int] | None) -> list[str]:
    cells: list[str] = []
    for i, form in enumerate(("{:,}".format, "{:,}".format, size)):
        cells += ["–" if side is None else form(side[i]) for side in (a, b)]
    return cells


def _ratios(first: Cost, second: Cost) -> list[str]:
    cells: list[str] = []
    for key in ("params", "macs", "activation_bytes_train"):
        a, b = getattr(first, key), getattr(second, key)
        cells += ["", f"{b / a:.3f}" if a else "–"]
    return cells


def vs_text(first: Cost, second: Cost, more: Sequence[Mapping[str, Any]]) -> str:
    """Two networks, stage by stage, and what else was asked of each."""
    names = (f"{first.model} ", f"{second.model}") if first.model == second.model else (first.model, second.model)
    sizes = [] if first.image == second.image else [f"inputs: {_shape(first.image)} and {_shape(second.image)}"]
    return "\n".join([beside_text(first, second, names), *sizes, *_each(names, more)])


def _each(names: Sequence[str], more: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, found in zip(names, more, strict=True):
        facts = [*_memory(found), *_speed(found.get("latency"))]
        lines += ["", name, *facts] if facts else []
    return lines


def what_if_text(found: WhatIf, more: Sequence[Mapping[str, Any]] = ({}, {})) -> str:
    """A network before and after, and what the formulas said."""
    table = beside_text(found.before, found.after, ("before", "after"))
    said = [f"{word}: {sentence}" for word, sentence in _savings(found)]
    return "\n".join([found.after.model, "", table, "", *said, *_each(("before", "after"), more)])


def what_if_page(found: WhatIf, more: Sequence[Mapping[str, Any]]) -> str:
    """The page of a changed network beside the one it was."""
    facts = [*_facts(found.after), *_memory(more[1]), *_speed(more[1].get("latency"))]
    return price_page(found.after, found.before, [*_savings(found), *_split(facts)])


def _savings(found: WhatIf) -> list[tuple[str, str]]:
    """What each formula foresaw, and what was counted: word and sentence."""
    lines = []
    for saving in found.savings:
        if saving.convolutions:
            where = f"{saving.convolutions} convolution{'s' * (saving.convolutions > 1)}"
            said = (
                f"{saving.formula}, over the {where} that it rewrites {saving.ratio:.4f} of their MACs; "
                f"foreseen: {saving.params:,} parameters, {saving.macs:,} MACs"
            )
        elif saving.params is not None:
            said = f"{saving.formula}; foreseen: {saving.params:,} parameters, {saving.macs:,} MACs"
        else:
            said = f"{saving.formula} = {saving.ratio:.4f} of the MACs, as a rule of thumb"
        lines.append((saving.change, said))
    ratio = found.after.macs / found.before.macs
    counted = f"{found.after.params:,} parameters, {found.after.macs:,} MACs, {ratio:.4f} of the network's"
    return [*lines, ("counted", counted)]


def choice_text(choice: Choice, budget: Budget) -> str:
    """The networks that fit, and what keeps the others out."""
    head = ("network", "top-1", "parameters", "MACs", "image", "memory", "ms", "")
    body = [
        (
            p.name, "" if p.top1 is None else f"{p.top1:.1f}", f"{p.params:,}", f"{p.macs:,}", str(p.image),
            size(p.memory), "" if p.ms is None else f"{p.ms:.1f}", _judged(p.judged_at, p.image, p.dataset),
        )
        for p in choice.fits
    ]  # fmt: skip
    moment = f"a training step on {budget.batch}" if budget.training else f"inference on {budget.batch}"
    other = " of pictures of the size that it was published for" if budget.image else ""
    notes = [f"top-1 as published{other}; memory: the worst moment of {moment}, fp32."]
    notes += [f"{e.bound} keeps out {len(e.networks)}: {e.nearest}." for e in choice.excluded]
    return "\n".join([table([head, *body], left=(0, 7)), *notes])


def _judged(judged_at: int, image: int, dataset: str) -> str:
    if not dataset.startswith("ImageNet"):
        return f"{dataset}, judged at {judged_at}" if dataset else ""
    return f"judged at {judged_at}" if judged_at != image else ""


def scaled_text(found: Scaled) -> str:
    """What compound scaling found."""
    lines = [
        found.cost.model,
        f"alpha = {found.alpha:g} (depth), beta = {found.beta:g} (width), gamma = {found.gamma:g} (resolution); "
        f"alpha * beta^2 * gamma^2 = {found.alpha * found.beta**2 * found.gamma**2:.3f}",
        f"phi = {found.phi:g}: depth x {found.depth:.3f}, width x {found.width:.3f}, "
        f"image {found.base.image[-1]} -> {found.image}",
        "",
        beside_text(found.base, found.cost, ("before", "after")),
    ]
    return "\n".join(lines)


def claims_text(found: Sequence[Claim]) -> str:
    """Claim by claim: what is taught and what is counted."""
    lines = []
    for claim in found:
        lines += [
            f"{'right' if claim.right else 'WRONG'}  {claim.subject}",
            f"       {claim.formula}",
            f"       taught: {claim.taught}; counted: {claim.counted}",
            *([f"       {claim.remark}"] if claim.remark else []),
        ]
    return "\n".join(lines)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV; what is nested is JSON in its cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: json.dumps(v) if isinstance(v, dict | list | tuple) else v for key, v in row.items()})
    return out.getvalue()


def page(price: Cost, more: Mapping[str, Any] | None = None, other: Cost | None = None) -> str:
    """The page of a network, with another one beside it."""
    facts = [*_facts(price), *_memory(more or {}), *_speed((more or {}).get("latency"))]
    return price_page(price, other, _split(facts))


def _split(facts: Sequence[str]) -> list[tuple[str, str]]:
    """Word and sentence of each line."""
    return [(line[:17].strip(), line[17:]) for line in facts]


def choice_page(choice: Choice, budget: Budget) -> str:
    """The page of a choice: the networks that fit, and the budget drawn in."""
    return budget_page(choice.fits, choice.excluded, budget)
