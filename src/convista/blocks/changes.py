"""Changes to a whole table: dilation for stride, "same" padding, stochastic depth, without auxiliary heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convista.blocks.auxiliary import Auxiliary
from convista.blocks.base import Block, DoesNotFitError, Reach
from convista.blocks.cells import Cell
from convista.blocks.historic import SparseConv, Subsample
from convista.blocks.joins import Chain
from convista.blocks.pools import Pool
from convista.blocks.residual import Residual
from convista.blocks.words import ACTIVATIONS, Act, Conv, Dropout, Norm
from convista.errors import InputError

__all__ = [
    "auxiliary_heads",
    "dilate",
    "pad_same",
    "padding_of",
    "set_activation",
    "set_dropout",
    "set_norm",
    "stochastic_depth",
    "without_auxiliary",
    "without_norm",
]


def dilate(table: Chain, output_stride: int) -> Chain:
    """The table with its last strides replaced by dilation, so that its maps shrink by `output_stride` only.

    Every unit sees the same pixels as before (Chen et al. 2016, DeepLab, section 3.1), and the weights are the same.
    With TensorFlow's padding that holds where maps are odd; on even ones it shifts by a pixel.
    Raises `InputError` where there is nothing to dilate or a row has no dilated form.
    """
    if output_stride not in (1, 2, 4, 8, 16, 32):
        raise InputError(f"output_stride={output_stride} was given; expected a power of two, 8 or 16 mostly.")
    if table.reduction() <= output_stride:
        raise InputError(
            f"output_stride={output_stride} was given, but the network only shrinks by {table.reduction()}: "
            "there is no stride to replace by dilation."
        )
    try:
        return table.dilated(Reach(output_stride))[0]  # type: ignore[return-value]
    except DoesNotFitError as error:
        raise InputError(f"output_stride={output_stride} cannot be had: {error}.") from None


def pad_same(table: Chain, zeros: bool = False) -> Chain:
    """The table with TensorFlow's "same" padding wherever padding is not given in pixels.

    With `zeros` the padding of a cell's maximum counts as zero, as Keras has it.
    """

    def change(block: Block) -> Block:
        overlaps = isinstance(block, Pool) and block.reduction() < block.kernel
        if isinstance(block, Conv) and block.padding is None:
            return replace(block, padding="same")
        if isinstance(block, Pool) and overlaps and block.padding is None:
            return replace(block, padding="same", count_padding=False)
        if isinstance(block, Cell):
            return replace(block, padding="zeros" if zeros else block.padding or "same")
        return block

    return table.map(change)  # type: ignore[return-value]


def padding_of(table: Chain) -> str | None:
    """`"zeros"` or `"same"` where all of the table is padded like that, as `pad_same` does it; None elsewhere."""
    kinds: set[object] = set()

    def note(block: Block) -> Block:
        kinds.add(getattr(block, "padding", None))
        return block

    table.map(note)
    return next((kind for kind in ("zeros", "same") if kind in kinds and pad_same(table) == table), None)


def set_norm(table: Chain, eps: float, momentum: float | None) -> Chain:
    """The table with every normalisation's `eps` as given, and its `momentum` where that is given."""

    def change(block: Block) -> Block:
        if not isinstance(block, Norm):
            return block
        return Norm(eps, block.momentum if momentum is None else momentum)

    return table.map(change)  # type: ignore[return-value]


def without_norm(table: Chain) -> Chain:
    """The table without batch normalisation, whose convolutions have biases instead.

    A projection on a shortcut stays without: its body has one. Raises `InputError` for cells.
    """
    _refuse(table, Cell, "a normalisation")

    def change(block: Block) -> Block | None:
        if isinstance(block, Norm):
            return None
        return replace(block, bias=block.bias or None) if isinstance(block, Conv) else block

    return table.map(change)  # type: ignore[return-value]


def set_activation(table: Chain, kind: str) -> Chain:
    """The table with the activation called `kind` wherever it has one; the gates of squeeze-excite keep theirs.

    Raises `UnknownNameError` for an unknown activation, `InputError` for cells.
    """
    _ = ACTIVATIONS[kind]
    _refuse(table, Cell | SparseConv | Subsample, "an activation")

    def change(block: Block) -> Block:
        if isinstance(block, Act):
            return Act(kind)
        return replace(block, act=kind) if getattr(block, "act", None) else block  # type: ignore[type-var]

    return table.map(change)  # type: ignore[return-value]


def set_dropout(table: Chain, probability: float) -> Chain:
    """The table with this dropout wherever it has some, and before its classifier.

    Raises `InputError` for a probability outside 0..1 and for a table without a place for it.
    """
    if not 0 <= probability < 1:
        raise InputError(f"dropout={probability} was given; it must be at least 0 and below 1.")
    if not any(isinstance(block, Dropout) or hasattr(block, "dropout") for block in _blocks(table)):
        raise InputError("dropout needs a classifier or a layer that drops values, and this network has none.")

    def change(block: Block) -> Block:
        if isinstance(block, Dropout):
            return Dropout(probability)
        return replace(block, dropout=probability) if hasattr(block, "dropout") else block  # type: ignore[type-var]

    return table.map(change)  # type: ignore[return-value]


def _refuse(table: Chain, kinds: Any, what: str) -> None:
    """Raises `InputError` where a row of these kinds has its normalisation or activation built in."""
    built_in = {type(block).__name__ for block in _blocks(table) if isinstance(block, kinds)}
    if built_in:
        raise InputError(f"its {min(built_in)} has {what} of its own, which is not a word of the table.")


def stochastic_depth(table: Chain, rate: float) -> Chain:
    """The table whose l-th of L residual blocks is dropped with probability `rate * l / L` while training.

    Huang et al. 2016b, equation 4; in NASNet's cells each operation is dropped (Zoph et al. 2017).
    Raises `InputError` for a rate outside 0..1 and for a network without shortcuts.
    """
    if not 0 <= rate < 1:
        raise InputError(f"stochastic_depth={rate} was given; it must be at least 0 and below 1.")
    count = _count(table)
    if not count:
        raise InputError("stochastic_depth needs shortcuts around the blocks that it drops, and this network has none.")
    seen = 0

    def change(block: Block) -> Block:
        nonlocal seen
        if not isinstance(block, Residual | Cell):
            return block
        seen += 1
        return replace(block, drop_path=rate * seen / count)

    return table.map(change)  # type: ignore[return-value]


def _count(table: Chain) -> int:
    return sum(isinstance(block, Residual | Cell) for block in _blocks(table))


def _blocks(table: Chain) -> list[Block]:
    """Every block of the table, those within others first."""
    found: list[Block] = []

    def note(block: Block) -> Block:
        found.append(block)
        return block

    table.map(note)
    return found


def without_auxiliary(table: Chain) -> Chain:
    """The table without its auxiliary heads."""
    return table.map(lambda block: None if isinstance(block, Auxiliary) else block)  # type: ignore[return-value]


def auxiliary_heads(table: Chain) -> dict[str, float]:
    """The rows that are auxiliary heads, with the weight of their loss."""
    return {name: block.weight for name, block in table.rows if isinstance(block, Auxiliary)}
