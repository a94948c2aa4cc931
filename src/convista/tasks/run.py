"""A run folder: everything about one trained network, in files that need nothing else."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from convista.blocks import Net, Spec
from convista.data import (
    NO_LABELS,
    BadPictureError,
    Normalise,
    Source,
    UnreadableError,
    centre,
    decode,
    drop_conflicts,
    inspect,
    list_pictures,
    open_cache,
    open_source,
    pictures_of,
    quiet_pillow,
    reasons,
    squared,
    user_cache,
)
from convista.data.source import FolderSource
from convista.devices import pick_device
from convista.errors import DataError, RunError
from convista.files import write_atomically
from convista.models import load_weights, read_spec
from convista.pricing import cost
from convista.recipe import Recipe
from convista.records import BadFile, Cost, Epoch, Guess, Prediction, Predictions, Score, View
from convista.training import logits_of, look, score, softmax

__all__ = ["Run", "named_pictures"]

BATCH = 64
Picture = str | os.PathLike[str] | Image.Image
VERSION = 1  # of run.json


@dataclass(frozen=True, repr=False)
class Run:
    """A trained network with its recipe, its scores and its labels. `Run.load(path)` opens a run folder.

    >>> Run.load("nowhere")
    Traceback (most recent call last):
    convista.errors.RunError: There is no run folder at nowhere (no run.json in it). `convista train` makes one.
    """

    path: Path
    info: dict[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Opens a run folder. Raises `RunError` when it is none."""
        file = Path(path) / "run.json"
        if not file.is_file():
            raise RunError(f"There is no run folder at {path} (no run.json in it). `convista train` makes one.")
        try:
            info: dict[str, Any] = json.loads(file.read_text())
            version = info["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file} is damaged ({error!r}).") from None
        lost = [name for name in ("spec.json", "labels.json", "split.csv") if not (Path(path) / name).exists()]
        if lost:
            raise RunError(f"The run folder {path} is not complete: {', '.join(lost)} is missing.")
        if version != VERSION:
            raise RunError(f"{path} was written in format {version}; this convista reads format {VERSION}.")
        return cls(Path(path), info)

    def __fspath__(self) -> str:
        """The run folder: a run may stand wherever the path of one may."""
        return str(self.path)

    def __repr__(self) -> str:
        model, data, status = self.info["recipe"]["model"], self.info["name"], self.info["status"]
        return f"Run({str(self.path)!r}: {model} on {data}, {status})"

    def update(self, **changes: Any) -> Run:
        """The run with parts of its record replaced, in memory and in `run.json`."""
        info = self.info | changes
        write_atomically(self.path / "run.json", json.dumps(info, indent=1, default=str) + "\n")
        return Run(self.path, info)

    @property
    def done(self) -> bool:
        """Whether training came to its end."""
        return bool(self.info["status"] == "done")

    @property
    def diverged(self) -> bool:
        """Whether training was given up because the loss was no number; `info["reason"]` says what to do."""
        return bool(self.info["status"] == "diverged")

    @property
    def how_on(self) -> str:
        """How to go on with a run that is not done, in a sentence or two."""
        if self.diverged:
            return f"It diverged, and would again. {self.info['reason']}"
        return f"Go on with: convista {self.verb} --resume {self.path}"

    def require_done(self) -> None:
        """Raises `RunError` unless training came to its end."""
        if not self.done:
            raise RunError(f"{self.path} is not trained to its end. {self.how_on}")

    def require_classes(self) -> None:
        """Raises `RunError` where nothing was learned of classes."""
        if self.labels == NO_LABELS:
            raise RunError(
                f"{self.path} learned from pictures without labels, so it names no classes. Give it a head: "
                f"convista train PICTURES --from {self.path}"
            )

    @property
    def verb(self) -> str:
        """What made it: `train` or `pretrain`."""
        return "pretrain" if "pretrain" in self.info else "train"

    @property
    def recipe(self) -> Recipe:
        """How it was trained, every word decided."""
        return Recipe.of(**self.info["recipe"])

    @property
    def view(self) -> View:
        """How a file becomes the network's input."""
        return View.from_json(self.info["view"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""
        return tuple(json.loads((self.path / "labels.json").read_text()))

    @property
    def spec(self) -> Spec:
        """The network's table."""
        return read_spec((self.path / "spec.json").read_text())

    @property
    def cost(self) -> Cost:
        """The network's price."""
        return cost(self.spec)

    @property
    def val(self) -> Score:
        """The best weights' score on the validation split."""
        self.require_classes()
        return Score.from_json(self.info["val"])

    @property
    def test(self) -> Score:
        """The best weights' score on the test split, which training never saw."""
        self.require_classes()
        return Score.from_json(self.info["test"])

    @property
    def history(self) -> list[Epoch]:
        """One row an epoch, as in `metrics.csv`."""
        path = self.path / "metrics.csv"
        names, *rows = path.read_text().splitlines() if path.exists() else [""]
        pairs = (dict(zip(names.split(","), map(float, row.split(",")), strict=True)) for row in rows)
        return [Epoch(**pair | {"epoch": int(pair["epoch"])}) for pair in pairs]  # type: ignore[arg-type]

    @cached_property
    def net(self) -> Net:
        """The network with its best weights, in eval mode, on the CPU. Raises `RunError` before the first epoch."""
        weights = self.path / "model.safetensors"
        if not weights.exists() and self.done:
            raise RunError(f"The run folder {self.path} is not complete: model.safetensors is missing.")
        if not weights.exists():
            raise RunError(f"{self.path} has no weights yet. {self.how_on}")
        net = self.spec()
        load_weights(net, weights)
        return net.eval()

    def predict(self, images: Picture | Iterable[Picture], device: str = "auto") -> Predictions:
        """The five most probable classes of each picture, best first.

        `images` are paths of files, folders or zip archives, patterns with `*`, or Pillow images. A file that is no
        picture is listed in `skipped` with its reason. A Pillow image is taken with all its pixels, a large JPEG file
        is decoded at the smallest scale that is enough: the probabilities then differ a little. Raises `DataError` when
        there is nothing to look at.
        """
        self.require_classes()
        place = pick_device(device)
        net = self.net.to(place)
        ready: list[tuple[str, np.ndarray[Any, np.dtype[np.uint8]]]] = []
        done: list[Prediction] = []
        skipped: list[BadFile] = []
        with quiet_pillow():
            for name, read in named_pictures(images):
                try:
                    ready.append((name, self._look(read())))
                except (BadPictureError, UnreadableError) as error:
                    skipped.append(BadFile(name, str(error)))
                if len(ready) == BATCH:
                    done += self._name(net, ready, place)
                    ready.clear()
        done += self._name(net, ready, place) if ready else []
        return Predictions(tuple(done), tuple(skipped))

    def evaluate(
        self, data: str | os.PathLike[str] | None = None, device: str = "auto"
    ) -> tuple[Score, dict[str, int]]:
        """Judges the network on a folder of classes; on its own test split's data when None.

        Of data with `train/ val/ test/` the test part counts. Pictures that training or validation saw are left out,
        told by their content; the second result counts what was `used`, `seen_in_training` and `bad`. Raises
        `DataError` when nothing unseen is left or a class is unknown.
        """
        self.require_classes()
        view, labels = self.view, self.labels
        source = open_source(self.info["data"] if data is None else data)
        entries, bad = list_pictures(source, needs_train=False)
        entries = [entry for entry in entries if entry.split in (None, "test")] or entries
        strange = sorted({entry.label for entry in entries} - set(labels))
        if strange:
            raise DataError(
                f"Class '{strange[0]}' is not one that {self.path} knows: {', '.join(labels[:20])}. "
                "Expected one folder per class, named as in training."
            )
        cache = open_cache((user_cache(),), view.stored, view.channels)
        found, damaged, _ = inspect(source, entries, view.stored, view.channels, cache)
        seen = self._digests("train", "val")
        tested = self._digests("test") if data is None else {picture.digest for picture in found}
        kept, conflicts = drop_conflicts(found)
        unseen = [picture for picture in kept if picture.digest in tested - seen]
        if not unseen:
            raise DataError(
                f"There is no picture in '{source.name}' to judge on: {len(kept)} were seen in training, "
                f"{len(bad) + len(damaged)} are not usable. {reasons([*bad, *damaged, *conflicts])}".strip()
            )
        pictures = pictures_of(source, cache, (view.stored, view.stored, view.channels), unseen, labels)
        place = pick_device(device)
        logits = logits_of(self.net.to(place), pictures, view, place, views=self.recipe.views)
        not_used = len([*bad, *damaged, *conflicts])
        counts = {"used": len(unseen), "seen_in_training": len(kept) - len(unseen), "bad": not_used}
        return score(logits, pictures.targets, labels, np.array(self.info["prior"])), counts

    def _look(self, picture: bytes | Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
        view = self.view
        if isinstance(picture, bytes):
            pixels = decode(picture, view.stored, view.channels).pixels
        else:
            pixels = squared(picture, view.stored, view.channels).pixels
        return centre(pixels, view)

    def _name(
        self, net: Net, ready: Sequence[tuple[str, np.ndarray[Any, np.dtype[np.uint8]]]], device: torch.device
    ) -> list[Prediction]:
        batch = torch.from_numpy(np.stack([pixels for _, pixels in ready])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = look(net, Normalise.of(self.view, device)(batch.to(device)), self.recipe.views)
        labels = self.labels
        return [
            Prediction(name, tuple(Guess(labels[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:5]))
            for (name, _), row in zip(ready, softmax(logits.cpu().double().numpy()), strict=True)
        ]

    @property
    def splits(self) -> dict[str, str]:
        """The split, train, val or test, of each picture that the run has used, by the hash of its content."""
        with (self.path / "split.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return {row["digest"]: row["split"] for row in csv.DictReader(file)}

    def knows(self, digests: Iterable[str], *splits: str) -> int:
        """How many of these pictures, by the hashes of their contents, are in these splits of the run."""
        known = self._digests(*splits)
        return sum(digest in known for digest in digests)

    def _digests(self, *splits: str) -> set[str]:
        return {digest for digest, split in self.splits.items() if split in splits}


def named_pictures(images: Picture | Iterable[Picture]) -> Iterable[tuple[str, Any]]:
    """(name, function that reads it) for every picture meant by `images`."""
    one = isinstance(images, str | os.PathLike | Image.Image) or not isinstance(images, Iterable)
    several: list[object] = [images] if one else list(images)  # type: ignore[arg-type]
    if not several:
        raise DataError("No pictures were given. Expected paths of files, folders or patterns such as 'new/*.jpg'.")
    for i, image in enumerate(several):
        if isinstance(image, Image.Image):
            yield f"image {i}", lambda image=image: image.copy()
            continue
        if not isinstance(image, str | os.PathLike):
            raise DataError(f"A {type(image).__name__} was given; pictures are paths or Pillow images.")
        path = Path(image)
        if path.is_dir() or path.suffix.lower() in (".zip", ".tar"):
            source = open_source(path)
            for name in source.files():
                yield f"{path}/{name}", lambda source=source, name=name: source.read(name)
        else:
            for name in [str(image)] if path.exists() else sorted(glob.glob(str(image))) or [str(image)]:  # noqa: PTH207  # keeps absolute patterns
                yield name, lambda name=name: _read(Path(name))


def _read(path: Path) -> bytes:
    source: Source = FolderSource(path.parent)
    return source.read(path.name)
