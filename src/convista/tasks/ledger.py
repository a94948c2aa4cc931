"""What a sweep is to do and what has failed: the `sweep.json` of its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convista.errors import RunError
from convista.files import write_atomically
from convista.tasks.axes import label

__all__ = ["LEDGER", "Ledger", "folders"]

LEDGER, VERSION = "sweep.json", 1
LONGEST = 120  # letters of a run folder's name


@dataclass(frozen=True)
class Ledger:
    """A sweep's folder and its record: `data`, `recipe` (the words that all runs share), `sweep` (the axes), `runs`
    (each a `folder` and its `words`), `failed` (folder -> reason).
    """

    path: Path
    info: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Opens a sweep's folder. Raises `RunError` when its record cannot be read."""
        file = path / LEDGER
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
            version = info["version"]
            for run in info["runs"]:
                if not isinstance(run["words"], dict) or Path(run["folder"]).name != run["folder"]:
                    raise ValueError(run["folder"])
            if not (isinstance(info["failed"], dict) and isinstance(info["recipe"], dict) and info["data"]):
                raise ValueError("a part is missing")
        except OSError:
            raise RunError(f"There is no sweep at {path} (no {LEDGER} in it).") from None
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file} is damaged ({error!r}).") from None
        if version != VERSION:
            raise RunError(f"{path} was written in format {version}; this convista reads format {VERSION}.")
        return cls(path, info)

    def update(self, **changes: Any) -> Ledger:
        """The sweep with parts of its record replaced, in memory and on the disk."""
        info = {"version": VERSION} | self.info | changes
        write_atomically(self.path / LEDGER, json.dumps(info, indent=1, default=str) + "\n")
        return Ledger(self.path, info)

    def fail(self, folder: str, reason: str) -> Ledger:
        """Notes that a run cannot come to its end."""
        return self.update(failed=self.info["failed"] | {folder: reason})


def folders(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A folder's name for each run, after its words; with its number in front where that is no good name.

    >>> folders([{"lr": 0.001, "seed": 0}, {"model": "timm:resnet18"}, {"model": "timm/resnet18"}])
    ['lr=0.001,seed=0', 'model=timm_resnet18', '3-model=timm_resnet18']
    """
    names: list[str] = []
    for i, words in enumerate(runs):
        name = re.sub(r"[^\w.=,+-]", "_", label(words))[:LONGEST]
        taken = {other.lower() for other in names}  # some disks know no capitals
        names.append(name if name.lower() not in taken else f"{i + 1}-{name}")
    return names
