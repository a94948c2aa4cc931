"""The verbs of what a pretrained network sees: features, neighbours, a map, how far pictures lie, which to take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from convista.catalogue import Budget
from convista.data import Source, check_data, open_source
from convista.devices import pick_device
from convista.errors import InputError, UnknownNameError
from convista.feature_recipes import FeatureRecipe, MapRecipe, NeighbourRecipe
from convista.files import check_page, write_atomically
from convista.pricing import Choice
from convista.pricing import pick as pick_by_price
from convista.reports import found_page, overview_page
from convista.tasks.run import Picture
from convista.training import Console
from convista.transfer import (
    FeatureTable,
    Neighbours,
    Overview,
    Pretrained,
    Ranking,
    Shifted,
    feature_table,
    find_neighbours,
    is_run,
    overview_of,
    pretrained,
    ranking,
    shifted,
    source_of,
    written,
)

__all__ = ["LIMIT", "features", "map", "neighbours", "pick", "shift"]

Folder = str | os.PathLike[str]
LIMIT = 2000  # pictures that networks are tried on, if no other number is asked for


def features(
    model: Folder,
    data: Folder,
    *,
    out: Folder | None = None,
    weights: Folder | None = None,
    console: Console | None = None,
    **words: Any,
) -> FeatureTable:
    """The features of pictures by a pretrained network or a run; kept, and computed only where they are not yet.

    `model` is a network's name, with the weights of `weights` (a file or a name; the published ones if not given), or a
    run folder. `words`: `layer` (what the classifier is given, if none), `maps` (do not average over places), `views`
    (how often each picture is looked at: its middle, then as `augment` draws it with `seed`), `adapt`, `precision`,
    `device`. `out` is a folder, or a file that ends in .npz or .parquet. Raises an `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.train("digits", model="lenet5", epochs=1, limit=100, out=tmp / "seen")
    >>> convista.features(run.path, "digits").features.shape
    (1797, 1, 84)
    """
    check_data(data)
    asked = FeatureRecipe.of(**words)
    base = pretrained(os.fspath(model), None if weights is None else os.fspath(weights), "")
    found = feature_table(base, os.fspath(data), asked, console or Console())
    if out is not None:
        written(found, Path(out))
    return found


def neighbours(
    model: Folder,
    queries: Picture | Iterable[Picture],
    *,
    data: Folder | None = None,
    out: Folder | None = None,
    weights: Folder | None = None,
    console: Console | None = None,
    **words: Any,
) -> Neighbours:
    """The pictures of a data set that look most alike to each query, in the eyes of a network.

    `model` and `weights` are those of `features`. `queries` are files, folders, patterns or Pillow images. `data` is a
    folder of pictures, with or without classes; a run's own pictures if not given. `words`: `top` (10), `metric`
    ("cosine" or "l2"), `layer`, `precision`, `device`. `out` is a page (.html) to write. Features are kept, and found
    again. Raises an `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.train("digits", model="lenet5", epochs=1, limit=100, out=tmp / "near")
    >>> from PIL import Image
    >>> found = convista.neighbours(run.path, Image.new("L", (8, 8)), top=3, metric="l2")
    >>> len(found.queries[0].neighbours), found.pictures
    (3, 1797)
    """
    if out is not None:
        check_page(Path(out))
    asked = NeighbourRecipe.of(**words)
    base, source = _opened(model, data, weights)
    found = find_neighbours(base, queries, source, asked, console or Console())
    if out is not None:
        write_atomically(Path(out), found_page(found))
    return found


def map(  # noqa: A001  # the verb's name
    model: Folder,
    data: Folder | None = None,
    *,
    out: Folder | None = None,
    weights: Folder | None = None,
    console: Console | None = None,
    **words: Any,
) -> Overview:
    """A data set in the eyes of a network: who lies beside whom, what is double, which labels are in doubt.

    `model` and `weights` are those of `features`; `data` is a folder of pictures, a run's own if not given. Without
    classes the map and the near-duplicates remain. `words`: `method` ("tsne", "pca"), `alike` (the cosine from which
    pictures are near-duplicates), `layer`, `precision`, `seed`, `device`. `out` is a page (.html) to write. Raises an
    `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.train("digits", model="lenet5", epochs=1, limit=100, out=tmp / "mapped")
    >>> found = convista.map(run.path, method="pca")
    >>> found.points.shape, found.retrieval.scores["recall@1"] > found.retrieval.floor["recall@1"]
    ((1797, 2), True)
    """
    if out is not None:
        check_page(Path(out))
    asked = MapRecipe.of(**words)
    base, source = _opened(model, data, weights)
    found = overview_of(base, source, asked, console or Console())
    if out is not None:
        write_atomically(Path(out), overview_page(found))
    return found


def _opened(model: Folder, data: Folder | None, weights: Folder | None) -> tuple[Pretrained, Source]:
    """The network and the pictures; what cannot be there is said before weights are looked for."""
    if data is not None:
        check_data(data)
    name, place = os.fspath(model), None if data is None else os.fspath(data)
    if place is not None or not (is_run(name) or os.sep in name):
        source_of(name, None, place)
    base = pretrained(name, None if weights is None else os.fspath(weights), "")
    return base, source_of(name, base, place)


def shift(
    model: Folder,
    data: Folder,
    *,
    weights: Folder | None = None,
    limit: int = LIMIT,
    device: str = "auto",
    console: Console | None = None,
) -> Shifted:
    """How far pictures lie from those that a network was pretrained on, and what adapting the network changes.

    `model` is a network's name, with the weights of `weights` (a file or a name; the published ones if not given), or a
    run folder. The effect of each adaptation is measured where folders name classes, on at most `limit` pictures.
    Raises an `InputError` that says what to mend.

    >>> import convista
    >>> run = convista.train("digits", model="resnet20", image=8, epochs=1, limit=100, out=tmp / "shifted")
    >>> found = convista.shift(run.path, "digits", limit=100)
    >>> found.pictures, [effect.how for effect in found.effects]
    (100, ['none', 'pixels', 'norms'])
    """
    check_data(data)
    _check_limit(limit)
    place, source = pick_device(device), open_source(data)
    base = pretrained(os.fspath(model), None if weights is None else os.fspath(weights), "")
    return shifted(base, source, place, limit, (console or Console()).reading)


def pick(
    *networks: Folder,
    from_data: Folder | None = None,
    limit: int | None = None,
    device: str | None = None,
    console: Console | None = None,
    say: Callable[[str], None] = lambda _: None,
    **words: Any,
) -> Choice | Ranking:
    """The networks within a budget, best published accuracy first; or best on one's own pictures first.

    `words` are those of `Budget`; see `convista.pricing.pick`. With `from_data`, a folder with one folder per class,
    the networks are tried: `networks` are names, `NAME=WEIGHTS` and run folders, else all of the budget with published
    weights, and a probe's accuracy on at most `limit` of the pictures, 2,000 if not given, ranks them. Raises an
    `InputError` that says what to mend.

    >>> import convista
    >>> [network.name for network in convista.pick(max_params="5M", max_macs="600M", min_top1=71).fits]
    ['mobilenet_v2']
    """
    if from_data is None:
        if networks or limit or device:
            said = os.fspath(networks[0]) if networks else "limit" if limit else "device"
            raise InputError(f"{said} was given without --from-data, the pictures to try networks on.")
        return pick_by_price(say=say, **words)
    for network in networks:
        if not isinstance(network, str | os.PathLike):
            raise InputError(f"{network!r} was given as a network; expected names and run folders, one after another.")
    limit = LIMIT if limit is None else limit
    _check_limit(limit)
    known = list(Budget.__dataclass_fields__)
    if unknown := sorted(words.keys() - set(known)):
        raise UnknownNameError("bound", unknown[0], [*known, "from_data", "limit", "device"])
    budget, place, source = Budget(**words), pick_device(device or "auto"), open_source(from_data)
    return ranking(source, [os.fspath(one) for one in networks], budget, place, limit, console)


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 4:
        raise InputError(f"limit={limit!r} was given; it must be at least 4 pictures, two of each of two classes.")
