"""One streaming pass over pictures: features are computed where the store has none, and found where it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from convista.data import Pictures, Policy, centre, plans, read_policy
from convista.data.cache import FORMAT as PIXELS
from convista.devices import kept_memory
from convista.errors import InputError
from convista.recipe import Recipe
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.trunk import Trunk, last_layer

__all__ = ["BATCH", "UNKEPT", "Features", "Place", "Stores", "Views", "chunks", "computed", "features_of", "row_key"]

BATCH = 32  # pictures in a pass
READ = 4096  # rows that are read at a time
UNKEPT = "The cache has no room for all features: those that are not kept will be computed again the next time."
HIGHEST = int(np.finfo(np.float16).max)
Progress = Callable[[str, int, int], None]
Place = tuple[int, int]  # a picture's index and the number of its view


@dataclass(frozen=True)
class Views:
    """How often each picture is looked at: once in its middle, then as `policy` draws it, a pure function of the seed,
    the number of the view and the content of the picture's file.
    """

    count: int = 1
    policy: Policy = field(default_factory=Policy)
    seed: int = 0

    @classmethod
    def of(cls, recipe: Recipe, count: int) -> Views:
        """As training with this recipe would draw them."""
        return cls(count, read_policy(recipe.augment).allowing(recipe.crop, recipe.flip), recipe.seed)


@dataclass(frozen=True)
class Features:
    """`values` (n, views, …) in fp16 of the pictures in their order; how many rows were `computed` and how many
    `reused`, in how many `seconds`; `kept` is whether all of them are on disk.
    """

    values: NDArray[np.float16]
    computed: int
    reused: int
    seconds: float
    kept: bool = True


def features_of(
    trunk: Trunk, pictures: Pictures, views: Views, folder: Path | None, progress: Progress | None = None
) -> Features:
    """The features of all pictures, kept in a store below `folder` (None: nowhere).

    What one killed process has computed the next one finds.
    """
    start, shape = time.perf_counter(), trunk.shape
    todo = [(index, view) for view in range(views.count) for index in range(len(pictures))]
    values = np.empty((len(pictures), views.count, *shape), np.float16)
    stores = Stores(trunk, views, shape, folder, pictures.digests)
    missing = stores.fill(values, todo)
    new, done = 0, len(todo) - len(missing)
    with kept_memory(trunk.device):
        for asked in chunks(missing):
            chunk = stores.fill(values, asked)  # another process may have been here
            if chunk:
                stores.keep(values, chunk, computed(trunk, pictures, chunk, views))
            new, done = new + len(chunk), done + len(asked)
            if progress:
                progress("computing features", done, len(todo))
    return Features(values, new, len(todo) - new, time.perf_counter() - start, stores.kept)


def computed(trunk: Trunk, pictures: Pictures, chunk: Sequence[Place], views: Views) -> NDArray[np.float16]:
    """The features (n, …) of at most `BATCH` places, in a pass that is filled up to `BATCH` with black pictures.

    So a row does not depend on who is beside it: layers add up in another order when a batch has another size.
    """
    seen = _look(pictures, chunk, views, trunk)
    full = torch.cat([seen, seen.new_zeros(BATCH - len(seen), *seen.shape[1:])])
    values = trunk(full)[: len(seen)].cpu().numpy()
    where = f"The layer '{trunk.layer}'" if trunk.layer else "The network"
    if np.isnan(values).any():
        raise InputError(f"{where} gives numbers that are none (NaN): look at its weights, or take --precision fp32.")
    if (most := np.abs(values).max(initial=0)) > HIGHEST:
        raise InputError(
            f"{where} gives values up to {most:.3g}; features are kept in 16 bits, at most {HIGHEST:,}. "
            "Take another --layer, such as one behind a normalisation."
        )
    return values.astype(np.float16)


def _look(pictures: Pictures, chunk: Sequence[Place], views: Views, trunk: Trunk) -> torch.Tensor:
    """Bytes (n, C, image, image) of pictures by index and view."""
    stored = pictures.many(np.array([index for index, _ in chunk]))
    seen = []
    for (index, view), picture in zip(chunk, stored, strict=True):
        if view == 0:
            seen.append(centre(picture, trunk.view))
            continue
        identity = np.array([int(pictures.pictures[index].digest[:15], 16)])
        seen.append(plans(views.policy, trunk.view, views.seed, view, identity)[0].image(picture))
    return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)


class Stores:
    """The store of the pictures' middles, which every policy shares, and that of the drawn views.

    Pictures are named by their number in `digests`; where nothing can be written `kept` is False. `device` is the kind
    of device that computes, the trunk's if not given: the same words give other last digits on another.
    """

    def __init__(
        self,
        trunk: Trunk,
        views: Views,
        shape: tuple[int, ...],
        folder: Path | None,
        digests: list[str],
        device: str | None = None,
    ):
        self.digests, self.kept = digests, folder is not None
        self.stores: list[FeatureStore | None] = [None, None]
        if folder is None:
            return
        decides = {
            "weights": fingerprint(trunk.net, None if trunk.layer else last_layer(trunk.net)),
            "layer": trunk.layer,
            "maps": trunk.maps,
            "precision": trunk.precision,
            "view": asdict(trunk.view),
            "pixels": PIXELS,
            "device": device or trunk.device.type,
        }
        drawn = decides | {"policy": str(views.policy), "seed": views.seed}
        try:
            self.stores = [
                FeatureStore(folder, store_key(**words), shape) for words in (decides, drawn)[: 1 + (views.count > 1)]
            ]
        except OSError:
            self.kept = False

    def names(self) -> list[str]:
        """What all rows are called that are there."""
        return [key for store in self.stores if store is not None for key in store.names()]

    def fill(self, values: NDArray[np.float16], wanted: Sequence[Place]) -> list[Place]:
        """Puts what the stores have into `values`. Returns what they have not."""
        missing: list[Place] = []
        for store, places in self._parts(wanted):
            for block in chunks(places, READ):
                there = self._read(store, values, block)
                missing += [place for place, found in zip(block, there, strict=True) if not found]
        return missing

    def _read(self, store: FeatureStore | None, values: NDArray[np.float16], block: Sequence[Place]) -> list[bool]:
        """Whether each place was found; none, where the store cannot be read."""
        if store is not None:
            try:
                found, there = store.read([row_key(self.digests[index], view) for index, view in block])
            except OSError:
                self.kept = False
            else:
                index, view = np.array(block).T
                values[index[there], view[there]] = found[there]
                return [bool(one) for one in there]
        return [False] * len(block)

    def keep(self, values: NDArray[np.float16], places: Sequence[Place], seen: NDArray[np.float16]) -> None:
        """Puts features into `values`, and into the stores as long as the disk takes them."""
        index, view = np.array(places).T
        values[index, view] = seen
        for store, part in self._parts(places):
            if store is not None and self.kept:
                once = {
                    row_key(self.digests[place[0]], place[1]): values[place] for place in part
                }  # pictures of one content are one
                try:
                    store.add(list(once), np.stack(list(once.values())))
                except OSError:  # a full disk costs the next run its time, nothing else
                    self.kept = False

    def _parts(self, wanted: Sequence[Place]) -> Iterator[tuple[FeatureStore | None, list[Place]]]:
        """Each store with what of it is wanted."""
        for store, drawn in zip(self.stores, (False, True), strict=False):
            places = [place for place in wanted if (place[1] > 0) == drawn]
            if places:
                yield store, places


def row_key(digest: str, view: int) -> str:
    """What a row is called: by the content of the picture's file and the number of the view."""
    return f"{digest}/{view}"


def chunks(todo: Sequence[Place], most: int = BATCH) -> Iterator[Sequence[Place]]:
    """At most so many places at a time."""
    for start in range(0, len(todo), most):
        yield todo[start : start + most]
