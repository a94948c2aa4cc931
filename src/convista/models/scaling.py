"""Width and depth of a whole table, and their rounding, as the networks that come in many sizes have it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from convista.blocks import Block, Branches, Cell, Chain, Conv, Linear, Pool, SparseConv, SqueezeExcite
from convista.errors import InputError

__all__ = ["deepen", "deeper", "widen", "wider"]


def wider(width: int, factor: float, divisor: int = 8) -> int:
    """`width * factor` as the nearest multiple of `divisor`, but not 0, and never more than 10 % too small.

    >>> wider(32, 0.35), wider(24, 1.4)
    (16, 32)
    """
    rounded = max(divisor, int(width * factor + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width * factor else rounded


def deeper(repeats: int, factor: float) -> int:
    """`repeats * factor`, rounded up."""
    return math.ceil(repeats * factor)


def widen(table: Chain, factor: float) -> Chain:
    """The table with `factor` times as many channels everywhere but in its last row, which makes the classes.

    Widths that are multiples of 8 stay such (see `wider`), the others are rounded; the number of groups stays, and
    widths that it divides go on being divided by it. Raises `InputError` for a row whose width is part of what it is.
    """
    groups = _groups(table)

    def change(block: Block) -> Block:
        if isinstance(block, SparseConv):
            raise InputError(f"a row of {block.text()} has no width that could change")
        if isinstance(block, Cell):  # whose strided shortcut is made of two halves
            return replace(block, width=max(2, 2 * round(block.width * factor / 2)))
        if isinstance(block, Conv | Linear | SqueezeExcite) and isinstance(block.width, int):
            return replace(block, width=_scaled(block.width, factor, groups))
        return block

    *rows, last = table.rows
    return Chain(**dict(Chain(**dict(rows)).map(change).rows), **dict([last]))  # type: ignore[union-attr]


def _groups(table: Chain) -> int:
    """A number that all groups of the table divide."""
    found: set[int] = {1}

    def note(block: Block) -> Block:
        if isinstance(block, Conv) and isinstance(block.groups, int):
            found.add(block.groups)
        return block

    table.map(note)
    return math.lcm(*found)


def _scaled(width: int, factor: float, groups: int) -> int:
    divisors = [math.lcm(8, groups), groups] if groups > 1 else [8]
    divisor = next((n for n in divisors if width % n == 0), 1)
    return wider(width, factor, divisor) if divisor > 1 else max(1, round(width * factor))


def deepen(table: Chain, factor: float) -> Chain:
    """The table with `factor` times as many blocks wherever equal ones follow each other, rounded up.

    Those are rows whose names count (`block1`, `block2`, …) and that are equal, but for the first block's stride; a
    stage of one block counts, too. Raises `InputError` where no row is repeated.

    >>> from convista.models import spec
    >>> [name for name, _ in deepen(spec("vgg11").table, 2).rows][4:8]
    ['conv3_1', 'conv3_2', 'conv3_3', 'conv3_4']
    """
    if not any(_repeated(run, table) for table in _sequences(table) for run in _runs(table)):
        raise InputError("no block is repeated in this table, so that there is no depth to change")
    return _deepened(table, factor)


Run = list[tuple[str, Block]]


def _sequences(table: Chain) -> Iterator[Chain]:
    """The table and the stages in it: rows in sequence, not the bodies of blocks."""
    yield table
    for _, block in table.rows:
        if _in_sequence(block):
            yield from _sequences(block)  # type: ignore[arg-type]


def _in_sequence(block: Block) -> bool:
    return isinstance(block, Chain) and not isinstance(block, Branches)


def _deepened(table: Chain, factor: float) -> Chain:
    made: dict[str, Block] = {}
    taken = {name for name, _ in table.rows}
    for run in _runs(table):
        if not _repeated(run, table):
            made |= {name: _deepened(b, factor) if _in_sequence(b) else b for name, b in run}  # type: ignore[arg-type]
            continue
        count = deeper(len(run), factor)
        more = [_numbered(run[-1][0], i + 1, taken) for i in range(count - len(run))]
        made |= dict(run[:count]) | dict.fromkeys(more, _unstrided(run[-1][1]))
    return table.with_rows(tuple(made.items()))


def _runs(table: Chain) -> list[Run]:
    """The rows, those that are one block repeated together."""
    runs: list[Run] = []
    for name, block in table.rows:
        if runs and _follows(runs[-1], name, block):
            runs[-1].append((name, block))
        else:
            runs.append([(name, block)])
    return runs


def _follows(run: Run, name: str, block: Block) -> bool:
    first = run[0][1]
    like = block == (_unstrided(first) if first.composite else first)
    return like and _split(name) == (_split(run[-1][0])[0], _split(run[-1][0])[1] + 1)


def _repeated(run: Run, table: Chain) -> bool:
    alone = len(table.rows) == 1 and run[0][1].composite and run[0][0].endswith("1")
    return len(run) > 1 or alone


def _split(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(\d+)", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _numbered(name: str, further: int, taken: set[str]) -> str:
    stem, number = _split(name)
    following = f"{stem}{number + further}"
    return f"{name}_{further + 1}" if following in taken else following


def _unstrided(block: Block) -> Block:
    """The block as it comes again behind itself, without its strides."""

    def change(part: Block) -> Block:
        return replace(part, stride=1) if isinstance(part, Conv | Pool) and part.reduction() > 1 else part

    return block.map(change)  # type: ignore[return-value]
