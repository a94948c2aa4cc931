"""What came of an import of weights: four lists."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["WeightsReport"]


@dataclass(frozen=True)
class WeightsReport:
    """The tensors of a network after weights came in, by our names; `unexpected` by the names of the source.

    `by` says how names were matched: `"name"`, `"rules"` of another library, or `"order"` and shape. `reshaped` says
    of some of the loaded ones how they were fitted. `source` is the file or module, `sha256` the file's digest.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    by: str = "name"
    source: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network came from the source."""
        return not self.missing

    def __str__(self) -> str:
        head = f"{len(self.loaded)} tensors loaded from {self.source or 'the source'}, matched by {self.by}"
        lists = (("missing", self.missing), ("unexpected", self.unexpected), ("reshaped", self.reshaped))
        lines = [f"  {len(names)} {word}: {_some(names)}" for word, names in lists if names]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([head, *(lines or ["  nothing missing, unexpected or reshaped"])])


def _some(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
