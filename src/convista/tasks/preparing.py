"""Before training: what the recipe leaves open is decided, and the pictures are made ready, once for all processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from convista.blocks import Spec
from convista.data import (
    NO_LABELS,
    Prepared,
    Source,
    channel_statistics,
    complete,
    flip_changes_class,
    open_cache,
    prepare,
    reasons,
    stored_side,
    user_cache,
)
from convista.errors import DataError, InputError
from convista.files import shown
from convista.recipe import Recipe
from convista.records import View
from convista.tasks.network import network_of
from convista.training import (
    Console,
    World,
    with_defaults,
)

__all__ = ["decide", "fast_precision", "prepare_once", "refuse_if_strict", "seen_as"]


def decide(recipe: Recipe, source: Any, device: torch.device) -> tuple[Recipe, Spec, int]:
    """Fills in what the recipe leaves open. Raises `InputError` for sizes that the network cannot take."""
    own = network_of(recipe)
    image, channels = recipe.image or own.image, recipe.channels or own.channels
    if channels not in (1, 3):
        raise InputError(f"channels={channels} was given; pictures have 1 (grey) or 3 (colour).")
    table = network_of(recipe, None, channels, image)
    decided = with_defaults(recipe).with_(
        image=image,
        channels=channels,
        precision=fast_precision(device) if recipe.precision == "auto" else recipe.precision,
    )
    return decided, table, stored_side(source, image)


def fast_precision(device: torch.device) -> str:
    """bfloat16 where the processor multiplies it in hardware; measured in docs/results/precision.md."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    able = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in able) else "fp32"


def prepare_once(
    source: Source, out: Path, channels: int, stored: int, recipe: Recipe, console: Console, world: World
) -> Prepared:
    """Every process gets the same pictures; the first one reads them all, and one on each other host what it lacks."""
    shape = (stored, stored, channels)
    folders = (user_cache(), out / "cache") if world.first or out.exists() else (user_cache(),)
    cache = open_cache(folders, stored, channels)
    prepared = None

    def look() -> dict[str, Any]:
        nonlocal prepared
        prepared = prepare(source, stored, channels, recipe.seed, cache, console.reading, recipe.limit)
        return prepared.told()

    told = world.once(look)
    if world.size > 1:
        reads = not world.first and os.environ.get("LOCAL_RANK", "0") == "0"
        world.together(lambda: complete(told, source, stored, channels, cache) if reads else None)
    prepared = prepared or Prepared.retold(told, source, cache, shape)
    if world.first:
        sizes = ", ".join(f"{len(pictures):,} {name}" for name, pictures in prepared.splits.items())
        classes = "no labels" if prepared.labels == NO_LABELS else f"{len(prepared.labels)} classes"
        console.say(f"{prepared.name}: {classes}, {sizes}. {reasons(prepared.bad)}".rstrip())
        loose = sum(int((pictures.rows < 0).sum()) for pictures in prepared.splits.values())
        if loose:
            console.say(f"{loose:,} pictures do not fit into the cache and are decoded in every epoch.")
    return prepared


def refuse_if_strict(prepared: Prepared, strict: bool) -> None:
    """Raises `DataError` with the list of unusable files, if that was asked for."""
    if strict and prepared.bad:
        listed = "".join(f"\n  {shown(file.path)}: {file.reason}" for file in prepared.bad[:20])
        more = f"\n  and {len(prepared.bad) - 20} more" if len(prepared.bad) > 20 else ""
        raise DataError(f"--strict was asked for, and {len(prepared.bad)} files are not usable:{listed}{more}")


def seen_as(recipe: Recipe, table: Spec, stored: int, prepared: Prepared) -> tuple[View, Recipe]:
    """How the network sees pictures, and the recipe with `flip` decided: no mirrors where they would change the class.

    Raises `InputError` for views that are mirrored where training must not.
    """
    view = View(table.image, stored, table.channels, *channel_statistics(prepared.splits["train"]))
    changes = recipe.flip is None and flip_changes_class(prepared.labels)
    if recipe.views > 1 and (changes or recipe.flip is False):
        why = "flip is off" if recipe.flip is False else "mirrored pictures of these classes show something else"
        raise InputError(
            f"views={recipe.views} was given, but {why} ({', '.join(prepared.labels[:3])}, …). Leave it out, or say "
            "--flip if mirrored pictures show the same."
        )
    return view, recipe.with_(flip=False) if changes else recipe
