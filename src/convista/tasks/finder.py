"""The learning-rate finder's pictures and network: those of the run that would follow."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from convista.data import open_source
from convista.devices import kept_memory, pick_device
from convista.recipe import Recipe
from convista.tasks.network import network_of, trained_table
from convista.tasks.preparing import decide, prepare_once, seen_as
from convista.tasks.start import check_start, write_start
from convista.training import Console, Finder, Sweep, Where, World, freeze_whitened
from convista.training.finder import check_span

__all__ = ["find_rate"]


def find_rate(
    data: str, recipe: Recipe, span: tuple[float, float, int], device: str, console: Console, world: World
) -> Sweep:
    """Sweeps the rate over `span` (lowest, highest, steps) with the recipe's own network, pictures and optimiser.

    Leaves no run folder. Raises `InputError` of the kind that fits.
    """
    check_span(*span)
    network_of(recipe)
    place, source = pick_device(device), open_source(data)
    with TemporaryDirectory() as folder, kept_memory(place):
        recipe, table, stored = decide(recipe, source, place)
        prepared = prepare_once(source, Path(folder), table.channels, stored, recipe, console, world)
        table = trained_table(recipe, len(prepared.labels), console if world.first else None)
        check_start(table, recipe)
        view, recipe = seen_as(recipe, table, stored, prepared)
        recipe = recipe.with_(ema=0.0)
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            torch.manual_seed(recipe.seed)
            net, splits = table(), prepared.splits
            write_start(net, recipe, splits["train"], view, place)
            freeze_whitened(net, recipe)
            finder = Finder(
                net, splits["train"], splits["val"], view, recipe, Where(Path(folder), place, world), console
            )
            return finder.sweep(*span)
