"""Where tensors live and work is done."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from convista.errors import RunError

__all__ = ["kept_memory", "main_memory", "pick_device"]

# Where a container's limit stands, by version 2 and version 1 of control groups.
CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
USUAL_MEMORY = 8 << 30  # bytes, on systems that do not tell

# Parameters of mallopt: M_MMAP_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD. First what keeps memory (nothing is
# mapped apart, nothing given back, growth in large steps), then what glibc comes to by itself with large blocks.
MALLOC = {-4: (0, 1 << 16), -3: (1 << 25, 1 << 25), -1: (-1, 1 << 26), -2: (1 << 28, 1 << 17)}
RESERVED = 4  # the heap is made as long as a part of so many of the machine's memory
HUGE_PAGE, LARGE, SMALL = 1 << 21, 14, 15  # bytes; the kernel's MADV_HUGEPAGE and MADV_NOHUGEPAGE
STRICT = "2"  # of the kernel's modes of overcommitment the one in which memory that is only reserved counts


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes a GPU where there is one. Raises `RunError` when the device asked for is not there."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there.get(name, False):
        known = ", ".join(key for key, is_there in there.items() if is_there)
        raise RunError(f"The device '{name}' is not on this machine; there is: auto, {known}.")
    return torch.device(name, int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)


def main_memory() -> int:
    """Bytes that this process may fill: the machine's memory, or less where its container is given less."""
    limits = [USUAL_MEMORY]
    if hasattr(os, "sysconf"):
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for limit in CONTAINER:
        with suppress(OSError, ValueError):  # not there; or "max"
            limits.append(int(limit.read_text()))
    return min(limits)


@contextmanager
def kept_memory(device: torch.device) -> Iterator[None]:
    """Within it, work on a processor keeps the memory that its tensors had, in large pages, as it would on a GPU.

    By default, glibc hands every large block back as soon as it is free, and the kernel clears it anew, 4 KiB at a
    time, when the next step asks for it: a fifth of a training step on a processor (docs/results/speed.md). Behind
    the block the memory is given back. On other devices, without glibc, and where the environment already says how
    memory is kept (`MALLOC_…`, `GLIBC_TUNABLES`), it does nothing.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if device.type != "cpu" or told:
        yield
        return
    HEAP.keep()
    try:
        yield
    finally:
        HEAP.release()


class _Heap:
    """The memory of this process, for as many as ask for it to be kept at the same time."""

    def __init__(self) -> None:
        self.holders, self.turn = 0, threading.Lock()

    def keep(self) -> None:
        with self.turn:
            self.holders += 1
            glibc = _glibc() if self.holders == 1 else None
            if glibc is not None:
                _set(glibc, 0)
                _reserve(glibc)
                _advise(glibc, LARGE)

    def release(self) -> None:
        with self.turn:
            self.holders -= 1
            glibc = None if self.holders else _glibc()
            if glibc is not None:
                _set(glibc, 1)
                _advise(glibc, SMALL)
                glibc.malloc_trim(ctypes.c_size_t(0))


HEAP = _Heap()


def _glibc() -> ctypes.CDLL | None:
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
        library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        return library if library.mallopt and library.malloc_trim else None
    return None


def _set(glibc: ctypes.CDLL, which: int) -> None:
    for parameter, values in MALLOC.items():
        glibc.mallopt(parameter, values[which])


def _reserve(glibc: ctypes.CDLL) -> None:
    """Makes the heap long before it is needed, for only what is there can be told to take large pages."""
    with suppress(OSError):
        if Path("/proc/sys/vm/overcommit_memory").read_text().strip() != STRICT:
            processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * RESERVED
            glibc.free(glibc.malloc(main_memory() // processes))


def _advise(glibc: ctypes.CDLL, size: int) -> None:
    """Large or small pages for all of the heap."""
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith("[heap]"):
                start, end = (int(address, 16) for address in line.split()[0].split("-"))
                start = -(-start // HUGE_PAGE) * HUGE_PAGE
                glibc.madvise(start, max(0, end - start), size)
