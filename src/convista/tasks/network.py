"""The network that a recipe asks for: its table, and the changes that come before it is trained."""

from __future__ import annotations

from convista.blocks import Spec
from convista.errors import InputError
from convista.models import spec
from convista.pricing import changed, changes_of
from convista.recipe import Recipe
from convista.training import Console

__all__ = ["network_of", "trained_table"]


def network_of(
    recipe: Recipe,
    classes: int | None = None,
    channels: int | None = None,
    image: int | None = None,
    auxiliary: bool = False,
) -> Spec:
    """The table of the recipe's network for these sizes, with the changes that the recipe asks for.

    Raises `UnknownNameError` for an unknown network or change, `InputError` for one that the table cannot take.
    """
    table = spec(recipe.model, classes, channels, image, auxiliary)
    changes = changes_of(recipe.what_if)
    if "image" in dict(changes):
        raise InputError(f"what_if={recipe.what_if!r} was given; the side of the pictures is the word image, --image.")
    return _regularised(changed(table, changes) if changes else table, recipe)


def _regularised(table: Spec, recipe: Recipe) -> Spec:
    if recipe.dropout is None and not recipe.stochastic_depth:
        return table
    if not isinstance(table, Spec):
        raise InputError(f"{recipe.model} has no table: dropout and stochastic_depth are for networks of our own.")
    if recipe.dropout is not None:
        table = table.with_dropout(recipe.dropout)
    return table.with_stochastic_depth(recipe.stochastic_depth) if recipe.stochastic_depth else table


def trained_table(recipe: Recipe, classes: int, console: Console | None) -> Spec:
    """The network's table with its auxiliary heads, which help it to learn; without, where pictures are too small."""
    table = network_of(recipe, classes, recipe.channels, recipe.image)
    try:
        return network_of(recipe, classes, recipe.channels, recipe.image, auxiliary=True)
    except InputError as error:
        if console:
            console.say(f"Training without auxiliary heads: {error}")
        return table
