"""What `convista models` prints."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convista.catalogue import Published, comparable
from convista.cli.tables import table
from convista.errors import InputError
from convista.files import write_atomically

__all__ = ["NOTE", "card_json", "card_text", "check_plot", "keras_rows", "keras_text", "listing", "write_plot"]

NOTE = (
    "top-1, top-5: per cent right, as published, on ImageNet-1k val unless said; ?: from memory. "
    "Sources: convista models NAME"
)


def listing(rows: Sequence[Published]) -> str:
    """The table of networks."""
    head = ("name", "family", "year", "parameters", "MACs", "image", "top-1", "top-5", "")
    return table([head, *(_row(row) for row in rows)], left=(0, 1, 8))


def _row(row: Published) -> tuple[str, ...]:
    other = f"judged at {row.judged_at}" if row.judged_at != row.image else ""
    other = other if row.dataset == comparable([]) else row.dataset
    doubt = "" if row.checked or row.top1 is None else "?"
    price = (f"{row.params:,}", f"{row.macs:,}", str(row.image))
    return (row.name, row.family, str(row.year), *price, _share(row.top1) + doubt, _share(row.top5) + doubt, other)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1f}"


def write_plot(path: Path, rows: Sequence[Published], family: str | None) -> None:
    """Draws accuracy against cost into an .svg file. Raises `InputError` for another suffix, `StorageError`."""
    from convista.reports.accuracy import accuracy_plot

    write_atomically(path, accuracy_plot(rows, comparable(rows, family)))
    print(f"drawn: {path}", file=sys.stderr)


def check_plot(path: Path) -> None:
    """Raises `InputError` unless the name says that the drawing is SVG."""
    if path.suffix.lower() != ".svg":
        raise InputError(f"--plot {path} was given, but only SVG is drawn: give a name that ends in .svg.")


def card_text(name: str) -> str:
    """A network's card in words, and its table. Raises `UnknownNameError`."""
    from convista.models import NETWORKS

    card = NETWORKS[name]
    seen, published = card.preprocessing, card.published
    mean, std = (", ".join(f"{x:.4g}" for x in part) for part in (seen.mean, seen.std))
    facts = {
        "paper": str(card.paper),
        "departures": card.departures or "none: the table is the paper's",
        "published": _figures(published),
        "weights": _weights(published),
        "pictures": f"short side resized to {seen.resize} ({seen.interpolation}), then the centre {seen.crop} x "
        f"{seen.crop}; (x / 255 - mean) / std, mean {mean}, std {std}",
    }
    lines = [textwrap.fill(f"{key:<12}{value}", 120, subsequent_indent=" " * 12) for key, value in facts.items()]
    return "\n".join([*lines, "", str(card.spec())])


def _weights(row: Published | None) -> str:
    if row is None or not row.licence:
        return "none that are public and have these figures"
    return f"{row.weights} ({row.licence})" if row.weights else f"{row.licence}; give the file's path"


def _figures(row: Published | None) -> str:
    if row is None or row.top1 is None:
        return "nothing for just this network"
    top5 = "" if row.top5 is None else f", top-5 {row.top5:g}"
    doubt = "" if row.checked else "; from memory, not read again"
    return f"top-1 {row.top1:g}{top5} per cent on {row.dataset}, {row.protocol} ({row.source}{doubt})"


def card_json(name: str) -> dict[str, Any]:
    """A network's card as plain data. Raises `UnknownNameError`."""
    from convista.models import NETWORKS

    card = NETWORKS[name]
    words = {"paper": asdict(card.paper), "departures": card.departures, "preprocessing": asdict(card.preprocessing)}
    figures = asdict(card.published) if card.published else {"name": name}
    return figures | words | {"table": str(card.spec())}


def keras_text() -> str:
    """The table of the Keras documentation, and two columns of ours."""
    from convista.pricing.keras_table import keras_table

    head = ("model", "size MB", "weights MB", "top-1", "top-5", "parameters", "depth", "conv + fc", "network")
    body = [
        (r.model, str(r.size), f"{r.weights:.1f}", f"{r.top1:.1f}", f"{r.top5:.1f}", f"{r.params:,}", str(r.depth),
         str(r.conv_fc), r.network)
        for r in keras_table()
    ]  # fmt: skip
    return table([head, *body], left=(0, 8))


def keras_rows() -> list[dict[str, Any]]:
    """The same as plain data."""
    from convista.pricing.keras_table import keras_table

    return [asdict(row) for row in keras_table()]
