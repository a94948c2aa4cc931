"""Writes `docs/networks/`: for each family its paper, its networks, the paper's table beside ours, and a figure.

python docs/make_networks.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import convista
from convista.blocks import Block, Spec
from convista.models import NETWORKS, Card
from convista.reports import count, draw

__all__ = ["pages"]

HERE = Path(__file__).parent
PAPERS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "papers.toml").read_text(encoding="utf-8"))
BY_HAND = "<!-- Written by docs/make_networks.py; do not edit by hand. -->\n\n"


class Ours(NamedTuple):
    """A row of our table: what comes in, what goes out, and its layers in words."""

    came: tuple[int, ...]
    went: tuple[int, ...]
    text: str


class Pair(NamedTuple):
    """A row of the paper beside ours, with what differs and why; either side may be empty."""

    paper: tuple[str, str, str]
    here: tuple[str, str, str]
    differs: str = ""


def pages() -> dict[str, str]:
    """Every file of `docs/networks/` by its name."""
    families = {family: [NETWORKS[name] for name in NETWORKS if NETWORKS[name].family == family] for family in PAPERS}
    made = {"README.md": _index(families)}
    for family, cards in families.items():
        made[f"{family}.md"] = _page(family, cards)
        made[f"{family}.svg"] = draw(NETWORKS[PAPERS[family]["network"]].spec(auxiliary=True))
    return made


def _index(families: dict[str, list[Card]]) -> str:
    rows = [
        f"| [{family}]({family}.md) | {cards[0].paper.year} | {cards[0].paper.title} | {_names(cards)} |"
        for family, cards in families.items()
    ]
    return (
        f"{BY_HAND}# The networks\n\nOne page for each family: the paper's table beside `print(spec)`, with each row "
        "that differs marked, and a figure that is drawn from the table.\n\n"
        "| family | year | paper | networks |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _names(cards: list[Card]) -> str:
    return ", ".join(f"`{card.name}`" for card in cards)


def _page(family: str, cards: list[Card]) -> str:
    paper, card = PAPERS[family], NETWORKS[PAPERS[family]["network"]]
    spec = card.spec()
    papers = dict.fromkeys(f"{card.paper}." for card in cards)
    parts = [
        f"# {family}",
        "\n\n".join(papers),
        "## Networks",
        _prices(cards),
        "## The paper's table beside ours",
        f"The paper: {paper['where']}. Here: `{card.name}`. Sizes are channels x height x width. Empty cells and … "
        "are what the paper leaves open; remarks in parentheses are not compared.",
        _comparison(list(_pairs(paper["rows"], spec))),
        *([paper["note"]] if "note" in paper else []),
        f'```python\nprint(convista.create("{card.name}").spec)\n```',
        f"```text\n{spec}\n```",
        "## Departures from the papers",
        _departures(cards),
        "## The figure",
        _figure(card),
        "[All networks](README.md)",
    ]
    return BY_HAND + "\n\n".join(parts) + "\n"


def _prices(cards: list[Card]) -> str:
    lines = ["| network | picture | parameters | multiply-accumulates |", "|---|---|---:|---:|"]
    for card in cards:
        cost = convista.cost(card.spec())
        picture = f"{card.channels} x {card.image} x {card.image}"
        lines.append(f"| `{card.name}` | {picture} | {cost.params:,} | {count(cost.macs)} |")
    return "\n".join(lines)


def _departures(cards: list[Card]) -> str:
    lines = []
    for said, group in groupby(sorted(cards, key=lambda card: card.departures), key=lambda card: card.departures):
        lines.append(f"- {_names(list(group))}: {said or 'none known.'}")
    return "\n".join(lines)


def _figure(card: Card) -> str:
    aside = card.spec(auxiliary=True).auxiliary
    heads = " With the auxiliary heads, which training alone uses." if aside else ""
    return (
        f"Drawn from the table by `convista.reports.draw`.{heads}\n\n"
        f"![{card.name}: its rows, the shape of its maps, and each kind of block]({card.family}.svg)"
    )


def _pairs(rows: list[list[str]], spec: Spec) -> Iterator[Pair]:
    """The paper's rows beside ours, and ours of which the paper says nothing in their places between them."""
    ours = _ours(spec)
    waiting = [name for name in ours if "." not in name]
    for name, size, layers, here, *why in rows:
        while here.split(".")[0] in waiting:
            first = waiting.pop(0)
            if first == here.split(".")[0]:
                break
            yield Pair(("", "", ""), (first, _shape(ours[first].went), ours[first].text))
        row = ours[here]
        differs = ", ".join(word for word, so in (("size", _sizes(size, row)), ("layers", _layers(layers, row))) if so)
        shown = f"{_shape(row.came)} -> {_shape(row.went)}" if "->" in size else _shape(row.went)
        reason = f" {why[0]}" if why else ""  # it begins with ≠ where only a reader sees a difference
        yield Pair(
            (name, size, layers), (here, shown, row.text), f"**≠ {differs}**{'.' + reason}" if differs else reason
        )
    for name in waiting:
        yield Pair(("", "", ""), (name, _shape(ours[name].went), ours[name].text))


def _ours(spec: Spec) -> dict[str, Ours]:
    """Our rows by name, those inside a row of named blocks too."""
    layers = {layer.name: layer for layer in spec.layers}
    picture = (spec.channels, spec.image, spec.image)
    found = {"input": Ours(picture, picture, "")}
    for name, block in spec.table.rows:
        inside: dict[str, Block] = {f"{name}.{inner}": row for inner, row in getattr(block, "rows", ())}
        for full, row in {name: block, **inside}.items():
            stride = f", stride {row.reduction()}" if row.reduction() > 1 else ""
            found[full] = Ours(layers[full].shape_in, layers[full].shape_out, row.text() + stride)
    return found


def _sizes(printed: str, row: Ours) -> bool:
    """Whether a printed size differs from ours."""
    before, arrow, behind = printed.partition("->")
    sides = ((before, row.came), (behind, row.went)) if arrow else ((printed, row.went),)
    return any(text.strip() and not _same(text, shape) for text, shape in sides)


def _same(text: str, shape: tuple[int, ...]) -> bool:
    numbers = tuple(int(number) for number in text.split("x"))
    return numbers == {1: shape[:1], 2: shape[1:]}.get(len(numbers), shape)


def _layers(printed: str, row: Ours) -> bool:
    """Whether printed layers differ from ours; * stands for anything, and a remark in parentheses says nothing."""
    bare = [text.translate({ord("["): None, ord("]"): None}) for text in (printed, row.text)]
    return bool(printed) and not printed.startswith("(") and not fnmatchcase(bare[1], bare[0])


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _comparison(pairs: list[Pair]) -> str:
    lines = ["| in the paper | size | layers | here | size | layers | |", "|---|---|---|---|---|---|---|"]
    for paper, here, differs in pairs:
        sizes = [size.replace(" ", "\N{NO-BREAK SPACE}") for size in (paper[1], here[1])]
        cells = [paper[0], sizes[0], paper[2].replace("*", "…"), f"`{here[0]}`", sizes[1], here[2], differs.strip()]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    odd = sum("≠" in pair.differs for pair in pairs)
    differ = "One row of the paper differs" if odd == 1 else f"{odd} rows of the paper differ"
    said = f"{differ} from ours, marked ≠." if odd else "Nothing that is compared differs."
    return "\n".join(lines) + f"\n\n{said}"


def main() -> None:
    """Writes the pages, and takes away what is no longer one."""
    folder = HERE / "networks"
    folder.mkdir(exist_ok=True)
    made = pages()
    for stale in {path.name for path in folder.iterdir()} - made.keys():
        (folder / stale).unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
