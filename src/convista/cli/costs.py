"""`convista cost`, `pick` and `scale`: what a network costs, would cost, and may cost."""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convista.catalogue import Budget, amount, catalogue
from convista.cli.options import option, options_of
from convista.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from convista.records import Cost

__all__ = ["add_to"]

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write a page (.html), the layers (.csv) or the record (.json)."),
]


@dataclass(frozen=True)
class Question:
    """What somebody wants to know about the price of a network."""

    image: int | None = option("Side of the pictures in pixels; the network's own if not given.")
    vs: str | None = option("Put another network beside it, stage by stage.")
    what_if: list[str] | None = option(  # noqa: RUF009  # a field, like the others
        "Change the table first: conv=separable, act=tanh, norm=none, width=0.5, … (repeatable)."
    )
    layers: bool = option("Every layer, not only the stages.", False)
    layer: str | None = option("One layer, block or stage: its price, and what its units see.")
    measure: bool = option("Also measure how long a forward pass takes here.", False)
    batch: int | None = option("Pictures in a training step, for its memory (32), and in a measured pass (1).")
    optimizer: str = option("Whose state training keeps: sgd, momentum, adamw, …", "adamw")
    max_memory: str | None = option("Also find the largest batches that fit into so many bytes, such as 8G (8 * 10^9).")
    strict: bool = option("Fail where an operation's cost is not known.", False)
    claims: bool = option("What courses teach about cost, each claim counted anew.", False)
    device: str = option("Where to measure: auto, cpu, cuda or mps.", "auto")


def add_to(app: typer.Typer) -> None:
    """Gives the command line these verbs."""
    app.command("cost")(_cost)
    app.command("pick")(_pick)
    app.command("scale")(_scale)


@options_of(Question)
def _cost(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL…", help="Names, globs ('resnet*'), timm:NAME, run folders, module:function."),
    ] = None,
    json: Json = False,
    out: Out = None,
    **asked: Any,
) -> None:
    """Say what a network costs before it is trained: parameters, work, memory, receptive field; or would cost."""
    question = Question(**asked)
    if question.claims and models:
        raise InputError(f"--claims and {models[0]} do not go together: the claims name their own networks.")
    names = [] if question.claims else _names(models or [])
    _check(question, names, out)
    if question.claims:
        _tell_claims(json)
    elif len(names) > 1:
        _tell_many(names, question, json)
    elif question.layer is not None:
        _tell_layer(names[0], question, json)
    elif question.what_if:
        _tell_what_if(names[0], question, json, out)
    elif question.vs is not None:
        _tell_beside(names[0], question, json, out)
    else:
        _tell_one(names[0], question, json, out)


# What can be asked beside each kind of question; `--json` always.
BESIDE = {
    "--claims": set(),
    "several networks": {"--image", "--strict"},
    "--layer": {"--image", "--strict"},
    "--what-if": {"--image", "--strict", "--measure", "--batch", "--optimizer", "--max-memory", "--device", "--out"},
    "--vs": {"--image", "--strict", "--measure", "--batch", "--optimizer", "--max-memory", "--device", "--out"},
}


def _check(question: Question, names: list[str], out: Path | None) -> None:
    """Raises `InputError` for words that do not go together, before anything is worked out."""
    given = {f"--{f.name.replace('_', '-')}" for f in fields(Question) if getattr(question, f.name) != f.default}
    given |= {"--out"} if out is not None else set()
    kinds = [kind for kind in BESIDE if kind in given] + (["several networks"] if len(names) > 1 else [])
    for kind in kinds:
        if refused := sorted(given - BESIDE[kind] - {kind}):
            raise InputError(f"{kind} and {' and '.join(refused)} do not go together; ask for one at a time.")
    _check_out(out)
    if question.batch is not None and question.batch < 1:
        raise InputError(f"batch={question.batch} was given; it must be at least 1.")
    if question.max_memory is not None:
        amount("max_memory", question.max_memory)
    for name in [*names, *([question.vs] if question.vs is not None else [])]:
        if ":" not in name and not (Path(name) / "run.json").is_file() and name not in catalogue():
            raise UnknownNameError("network or run folder", name, catalogue())


@options_of(Budget)
def _pick(
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NETWORK[=WEIGHTS]…]", help="With --from-data: try these, or run folders, only."),
    ] = None,
    from_data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Rank networks by a probe on these pictures, folders of classes.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="With --from-data: at most so many pictures (2000).")] = None,
    device: Annotated[str | None, typer.Option(help="With --from-data: auto, cpu, cuda or mps.")] = None,
    json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a table (.csv), the record (.json) or, by price, a page (.html)."
        ),
    ] = None,
    **budget: Any,
) -> None:
    """List the networks that fit a budget, best first, and say what keeps the others out; or try them on pictures."""
    _check_out(out)
    given = Budget(**budget)  # before torch is loaded
    if from_data is not None:
        _pick_from(from_data, networks or [], {"limit": limit, "device": device} | budget, json, out)
        return
    if networks or limit or device:
        said = networks[0] if networks else "--limit" if limit else "--device"
        raise InputError(f"{said} was given without --from-data, the pictures to try networks on.")
    from convista.cli import prices
    from convista.pricing import pick

    choice = pick(say=lambda text: print(text, "…", file=sys.stderr), **asdict(given))
    _put(asdict(choice)) if json else print(prices.choice_text(choice, given))
    if out is not None:
        _write(out, prices.choice_page(choice, given), [asdict(row) for row in choice.fits], asdict(choice))


def _pick_from(data: str, networks: list[str], words: dict[str, Any], json: bool, out: Path | None) -> None:
    """Ranks networks on pictures. Raises `InputError`."""
    if out is not None and out.suffix.lower() == ".html":
        raise InputError(f"--out {out} was given; with --from-data it ends in .csv or .json.")
    from convista.cli.console import job
    from convista.cli.shifts import ranking_text
    from convista.transfer_verbs import pick

    with job("") as console:
        found: Any = pick(*networks, from_data=data, console=console, **words)
    _put(found.to_json()) if json else print(ranking_text(found))
    if out is not None:
        _write(out, "", [asdict(row) for row in found.networks], found.to_json())


def _scale(
    model: Annotated[str, typer.Argument(help="A network of our own, such as efficientnet_b0.")],
    max_macs: Annotated[str | None, typer.Option(help="At most this many multiply-accumulates, such as 2G.")] = None,
    max_params: Annotated[str | None, typer.Option(help="At most this many parameters, such as 10M.")] = None,
    factors: Annotated[
        tuple[float, float, float], typer.Option(metavar="ALPHA BETA GAMMA", help="Depth, width, resolution.")
    ] = (1.2, 1.1, 1.15),
    json: Json = False,
    out: Out = None,
) -> None:
    """Make a network as large as a budget allows: deeper, wider and for larger pictures at once."""
    _check_out(out)
    from convista.cli import prices
    from convista.pricing import scale

    found = scale(model, max_macs, max_params, *factors)
    data = {key: getattr(found, key) for key in ("alpha", "beta", "gamma", "phi", "depth", "width", "image")}
    data = {"model": model} | data | {"base": asdict(found.base), "cost": asdict(found.cost)}
    _put(data) if json else print(prices.scaled_text(found))
    if out is not None:
        _write(out, prices.page(found.cost), [asdict(row) for row in found.cost.rows], data)


def _names(models: list[str]) -> list[str]:
    """The names, globs replaced by what they match. Raises `InputError` for none."""
    if not models:
        raise InputError("No network was named: convista cost resnet50, for example; convista models lists them.")
    found: list[str] = []
    for model in models:
        if any(mark in model for mark in "*?["):
            matching = [name for name in catalogue() if fnmatchcase(name, model)]
            if not matching:
                raise UnknownNameError("network", model, catalogue())
            found += matching
        else:
            found.append(model)
    return found


def _more(model: Any, question: Question, always: bool = False) -> dict[str, Any]:
    """What a training step needs, the batches that fit, and how long a pass takes: what was asked of it."""
    from convista.pricing import largest_batch, measure, memory

    more: dict[str, Any] = {}
    if always or question.batch or question.max_memory or question.optimizer != "adamw":
        more["memory"] = memory(model, question.image, question.batch or 32, question.optimizer)
    if question.max_memory:
        train, infer = (
            largest_batch(model, question.max_memory, question.image, kind) for kind in (question.optimizer, None)
        )
        more["fits"] = {"bytes": amount("max_memory", question.max_memory), "train": train, "infer": infer}
    if question.measure:
        more["latency"] = measure(model, question.image, question.batch or 1, question.device)
    return more


def _data(price: Cost, more: dict[str, Any]) -> dict[str, Any]:
    return asdict(price) | {key: value if isinstance(value, dict) else asdict(value) for key, value in more.items()}


def _tell_one(name: str, question: Question, json: bool, out: Path | None) -> None:
    from convista.cli import prices
    from convista.pricing import cost

    price, more = cost(name, question.image, question.strict), _more(name, question, always=True)
    data = _data(price, more)
    _put(data) if json else print(prices.text(price, more, question.layers))
    if out is not None:
        _write(out, prices.page(price, more), [asdict(row) for row in price.rows], data)


def _tell_layer(name: str, question: Question, json: bool) -> None:
    from convista.cli import prices
    from convista.pricing import cost

    row = cost(name, question.image, question.strict).layer(question.layer or "")
    _put(asdict(row)) if json else print(prices.layer_text(row))


def _tell_many(names: list[str], question: Question, json: bool) -> None:
    from convista.cli import prices
    from convista.pricing import cost

    found = [cost(name, question.image, question.strict) for name in names]
    _put({"networks": [asdict(price) for price in found]}) if json else print(prices.many_text(found))


def _tell_what_if(name: str, question: Question, json: bool, out: Path | None) -> None:
    from convista.cli import prices
    from convista.pricing import beside, changes_of, cost, what_if
    from convista.pricing.count import named

    changes = [change for text in question.what_if or [] for change in changes_of(text)]
    spec: Any = named(name)
    spec = spec if question.image is None else spec.at(question.image)
    found = what_if(spec, changes)
    if question.strict:
        cost(found.spec, strict=True)
    plain = replace(question, image=None)
    more = [_more(table, plain) for table in (spec, found.spec)]
    savings = [asdict(saving) for saving in found.savings]
    data = {"before": _data(found.before, more[0]), "after": _data(found.after, more[1]), "savings": savings}
    _put(data) if json else print(prices.what_if_text(found, more))
    if out is not None:
        rows = [asdict(row) for row in beside(found.before, found.after)]
        _write(out, prices.what_if_page(found, more), rows, data)


def _tell_beside(name: str, question: Question, json: bool, out: Path | None) -> None:
    from convista.cli import prices
    from convista.pricing import beside, cost

    names = (name, question.vs or "")
    first, second = (cost(model, question.image, question.strict) for model in names)
    more = [_more(model, question) for model in names]
    rows = [asdict(row) for row in beside(first, second)]
    data = {"first": _data(first, more[0]), "second": _data(second, more[1]), "stages": rows}
    _put(data) if json else print(prices.vs_text(first, second, more))
    if out is not None:
        _write(out, prices.page(first, more[0], other=second), rows, data)


def _tell_claims(json: bool) -> None:
    from convista.cli import prices
    from convista.pricing import claims

    found = claims()
    _put({"claims": [asdict(claim) for claim in found]}) if json else print(prices.claims_text(found))


def _check_out(out: Path | None) -> None:
    if out is not None and out.suffix.lower() not in (".html", ".csv", ".json"):
        raise InputError(f"--out {out} was given; expected a name that ends in .html, .csv or .json.")
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise InputError(f"--out {out} was given; that is a folder, or there is no folder to write it into.")


def _write(out: Path, page: str, rows: list[dict[str, Any]], data: Any) -> None:
    """Writes what the suffix asks for. Raises `StorageError`."""
    from convista.cli.prices import csv_text
    from convista.files import write_atomically

    kind = out.suffix.lower()
    write_atomically(out, page if kind == ".html" else csv_text(rows) if kind == ".csv" else json_text.dumps(data))
    print(f"written: {out}", file=sys.stderr)


def _put(data: Any) -> None:
    print(json_text.dumps(data))
