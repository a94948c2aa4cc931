"""The verbs `shift` and `pick` as Python functions: the same words as on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from convista.catalogue import Budget
from convista.data import open_source
from convista.devices import pick_device
from convista.errors import InputError, UnknownNameError
from convista.pricing import Choice
from convista.pricing import pick as pick_by_price
from convista.training import Console
from convista.transfer.effect import Shifted, shifted
from convista.transfer.pretrained import pretrained
from convista.transfer.ranking import Ranking, ranking

__all__ = ["LIMIT", "pick", "shift"]

Folder = str | os.PathLike[str]
LIMIT = 2000  # pictures that networks are tried on, if no other number is asked for


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
    >>> run = convista.train("digits", model="resnet20", image=8, epochs=1, limit=100, out=tmp / "seen")
    >>> found = convista.shift(run.path, "digits", limit=100)
    >>> found.pictures, [effect.how for effect in found.effects]
    (100, ['none', 'pixels', 'norms'])
    """
    _check_limit(limit)
    place, source = pick_device(device), open_source(data)
    base = pretrained(os.fspath(model), None if weights is None else os.fspath(weights))
    return shifted(base, source, place, limit, (console or Console()).reading)


def pick(
    *,
    from_data: Folder | None = None,
    networks: Sequence[Folder] = (),
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
    named = [networks] if isinstance(networks, str | os.PathLike) else networks
    if from_data is None:
        if named or limit or device:
            said = os.fspath(named[0]) if named else "limit" if limit else "device"
            raise InputError(f"{said} was given without --from-data, the pictures to try networks on.")
        return pick_by_price(say=say, **words)
    limit = LIMIT if limit is None else limit
    _check_limit(limit)
    known = list(Budget.__dataclass_fields__)
    if unknown := sorted(words.keys() - set(known)):
        raise UnknownNameError("bound", unknown[0], [*known, "from_data", "networks", "limit", "device"])
    budget, place, source = Budget(**words), pick_device(device or "auto"), open_source(from_data)
    return ranking(source, [os.fspath(one) for one in named], budget, place, limit, console)


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 4:
        raise InputError(f"limit={limit!r} was given; it must be at least 4 pictures, two of each of two classes.")
