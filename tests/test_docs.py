"""The documentation is what the networks are: generated, complete, and drawn from the tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from convista.blocks import Branches, Chain, Conv, Dense, Head, Pool, Residual, Spec
from convista.models import NETWORKS
from convista.reports import draw

DOCS = Path(__file__).parents[1] / "docs"
FAMILIES = sorted({NETWORKS[name].family for name in NETWORKS})
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def script(script_of_docs: Callable[[str], ModuleType]) -> ModuleType:
    return script_of_docs("make_networks")


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_pages_are_what_the_script_writes(script: ModuleType) -> None:
    made = script.pages()
    assert {path.name for path in (DOCS / "networks").iterdir()} == set(made)
    stale = [name for name, text in made.items() if (DOCS / "networks" / name).read_text(encoding="utf-8") != text]
    assert not stale, f"run `python docs/make_networks.py`, which changes {', '.join(stale)}"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_page_with_its_networks_and_its_figure(family: str, script: ModuleType) -> None:
    page = (DOCS / "networks" / f"{family}.md").read_text(encoding="utf-8")
    for name in NETWORKS:
        assert NETWORKS[name].family != family or f"| `{name}` |" in page
    assert f"({family}.svg)" in page
    assert str(NETWORKS[script.PAPERS[family]["network"]].spec()) in page


@pytest.mark.parametrize("family", FAMILIES)
def test_every_figure_is_well_formed_and_names_each_row(family: str, script: ModuleType) -> None:
    svg = (DOCS / "networks" / f"{family}.svg").read_text(encoding="utf-8")
    spec = NETWORKS[script.PAPERS[family]["network"]].spec(auxiliary=True)
    assert {name for name, _ in spec.table.rows} <= set(texts(svg))
    root = ElementTree.fromstring(svg)
    assert root.findtext(f"{SVG}title") == spec.name
    assert root.find(f"{SVG}desc") is not None


@pytest.mark.parametrize("name", ["densenet_bc100", "lenet5", "nasnet_large", "resnet110_plain", "vgg11_bn"])
def test_networks_without_a_page_are_drawn_too(name: str) -> None:
    spec = NETWORKS[name].spec()
    assert {row for row, _ in spec.table.rows} <= set(texts(draw(spec)))


def test_a_table_of_ones_own_is_drawn_with_each_kind_of_block_once() -> None:
    block = Residual(Chain(conv1=Conv(8), conv2=Conv(8, act=None)))
    table = Chain(
        conv=Conv(8),
        blocks=Chain(block1=block, block2=block),
        fork=Branches(left=Conv(4, 1), right=Chain(pool=Pool(3, 1), split=Branches(a=Conv(2), b=Conv(2)))),
        dense=Dense(Chain(grow=Conv(4))),
        head=Head(3),
    )
    drawn = texts(draw(Spec("mine <&>", table, image=16)))
    assert [drawn.count(letter) for letter in "ABCD"] == [2, 2, 2, 0]  # beside its row, and beside its diagram
    assert "blocks.block1…2" in drawn


@pytest.mark.parametrize(
    ("printed", "same"),
    [("", True), ("8 x 8", True), ("64 x 8 x 8", True), ("8 x 9", False), ("32 x 16 x 16 ->", True),
     ("16 x 16 -> 64", True), ("32 x 16 x 16 -> 65", False), ("65", False)],
)  # fmt: skip
def test_a_printed_size_that_differs_is_seen(script: ModuleType, printed: str, same: bool) -> None:
    row = script.Ours((32, 16, 16), (64, 8, 8), "3x3, 64, stride 2")
    assert script._sizes(printed, row) is not same


@pytest.mark.parametrize(("family", "rows"), [("alexnet", 1), ("mobilenet", 1), ("inception_v3", 5), ("resnet", 0)])
def test_rows_that_differ_from_the_paper_are_marked(script: ModuleType, family: str, rows: int) -> None:
    paper = script.PAPERS[family]
    pairs = list(script._pairs(paper["rows"], NETWORKS[paper["network"]].spec()))
    assert sum("≠" in pair.differs for pair in pairs) == rows
    ours = [pair.here[0] for pair in pairs]
    assert len(ours) == len(set(ours))
    assert {name for name, _ in NETWORKS[paper["network"]].spec().table.rows} <= set(ours)
