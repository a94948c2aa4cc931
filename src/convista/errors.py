"""What can go wrong, as a tree.

ConvistaError
├── InputError          what the user gave is wrong (exit code 2)
│   ├── UnknownNameError  no such network, optimiser, option; says what comes nearest
│   ├── DataError         the pictures cannot be trained or judged on
│   ├── WeightsError      a weights file does not fit the network
│   │   └── OfflineError    weights would have to be fetched, and no server answers
│   ├── RunError          a run folder is missing, incomplete, taken or does not match
│   ├── StorageError      a place that cannot be written, or is full
│   └── DivergedError     the loss became not-a-number three times
└── InterruptedRunError Ctrl-C or SIGTERM; everything so far is saved (exit code 130)

Each message says what was asked, what was expected, what was found, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConvistaError",
    "DataError",
    "DivergedError",
    "InputError",
    "InterruptedRunError",
    "OfflineError",
    "RunError",
    "StorageError",
    "UnknownNameError",
    "WeightsError",
]


MOST = 80  # names that a message lists


class ConvistaError(Exception):
    """The root: everything that convista raises on purpose."""

    exit_code = 1


class InputError(ConvistaError):
    """What the user gave is wrong; the message says how to mend it."""

    exit_code = 2


class UnknownNameError(InputError):
    """No `kind` is called `name`; the nearest known names are suggested, or the one that is `meant`.

    >>> print(UnknownNameError("network", "resnet81", ["resnet18", "lenet5"]))
    There is no network named 'resnet81'. Did you mean resnet18?
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], meant: str = ""):
        known = sorted(known)
        near = [meant] if meant else difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
        more = f", and {len(known) - MOST} more" if len(known) > MOST else ""
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known[:MOST])}{more}."
        super().__init__(f"There is no {kind} named '{name}'. {hint}")


class DataError(InputError):
    """The pictures cannot be trained or judged on."""


class WeightsError(InputError):
    """A weights file does not fit the network."""


class OfflineError(WeightsError):
    """Weights that would have to be fetched, and no server answers."""


class RunError(InputError):
    """A run folder is missing, incomplete, taken, or does not match what is asked of it."""


class StorageError(InputError):
    """A place that cannot be written, or is full."""


class DivergedError(InputError):
    """The loss became not-a-number three times."""


class InterruptedRunError(ConvistaError):
    """Ctrl-C or SIGTERM: everything so far is saved, and the message says how to go on."""

    exit_code = 130
