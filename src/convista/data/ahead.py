"""The next batch is made ready while the network still learns from the last one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from convista.data.augment import Batch

__all__ = ["Ahead"]

Make = Callable[[NDArray[np.int64], int], Batch]


class Ahead:
    """`make(indices, epoch)` on `device`; with `begin` in another thread, and on a GPU on another stream.

    A batch is a pure function of its indices and the epoch, so that it does not matter whether it was begun.
    """

    def __init__(self, make: Make, device: torch.device, threaded: bool | None = None):
        self.make, self.device = make, device
        self.threaded = device.type == "cuda" if threaded is None else threaded  # a processor has enough to do already
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.pool: ThreadPoolExecutor | None = None
        self.begun: tuple[NDArray[np.int64], int, Future[Batch]] | None = None

    def begin(self, indices: NDArray[np.int64], epoch: int) -> None:
        """Starts on a batch that will be asked for next, where there is a thread for that."""
        if not self.threaded:
            return
        self.pool = self.pool or ThreadPoolExecutor(1, "convista-ahead")
        self.begun = indices, epoch, self.pool.submit(self._made, indices, epoch)

    def __call__(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        """The batch, on the device."""
        begun, self.begun = self.begun, None
        if begun is None or begun[1] != epoch or not np.array_equal(begun[0], indices):
            if begun is not None and not begun[2].cancel():
                begun[2].exception()  # its memory is free again before more is taken
            return self.make(indices, epoch).to(self.device)
        batch = begun[2].result()
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
            batch.hold(torch.cuda.current_stream(self.device))
        return batch

    def _made(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        with torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            return self.make(indices, epoch).to(self.device)
