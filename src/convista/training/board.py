"""The metrics of every epoch for TensorBoard, on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from convista.errors import InputError
from convista.records import Epoch

__all__ = ["Watch", "check_tensorboard", "watching"]

Watch = Callable[[Sequence[Epoch]], None]  # is shown the whole history after each epoch
TAGS = {
    "loss/train": "train_loss", "loss/val": "val_loss", "top1/train": "train_top1", "top1/val": "val_top1",
    "top5/val": "val_top5", "speed/images_per_second": "pictures_per_second", "speed/seconds": "seconds", "lr": "lr",
}  # fmt: skip


def check_tensorboard() -> None:
    """Raises `InputError` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs a package that is not installed: pip install 'convista[track]'")


@contextmanager
def watching(folder: Path) -> Iterator[Watch]:
    """Event files in `folder`. What is there already is written anew from the history, so that no epoch comes twice or
    is missing, wherever a run was stopped.
    """
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.out.tfevents.*"):
        old.unlink(missing_ok=True)
    writer, written = SummaryWriter(str(folder)), 0

    def watch(history: Sequence[Epoch]) -> None:
        nonlocal written
        for row in history[written:]:
            for tag, name in TAGS.items():
                writer.add_scalar(tag, getattr(row, name), row.epoch)
        written = len(history)
        writer.flush()

    try:
        yield watch
    finally:
        writer.close()
