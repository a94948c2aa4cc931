"""Where work is done: memory that is kept while training, and given back behind it."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from convista import devices

GLIBC = platform.libc_ver()[0] == "glibc"
PROBE = """
import resource, torch
from convista.devices import kept_memory

def faults(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024  # MiB

def work():
    tensors = [torch.full((1 << 24,), 1.0) for _ in range(4)]  # 64 MiB each
    assert sum(t[-1] for t in tensors) == 4

work()
usual, bare = faults(work), resident()
with kept_memory(torch.device("cpu")):
    work()
    kept = faults(work)
print(kept, usual, bare, resident())
with kept_memory(torch.device("cpu")):  # once more in the same process
    work()
print(resident())
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc's allocator is told anything")
def test_memory_is_kept_while_training_and_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    kept, usual, bare, behind, later = map(float, done.stdout.split())
    assert kept < usual / 10
    assert max(behind, later) < bare + 64  # the 256 MiB of the tensors are gone


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_glibc", lambda: None)
    with devices.kept_memory(torch.device("cpu")):
        assert devices.HEAP.holders == 1


def test_the_user_s_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    monkeypatch.setattr(devices.HEAP, "keep", lambda: pytest.fail("touched"))
    with devices.kept_memory(torch.device("cpu")):
        assert devices.HEAP.holders == 0


def test_memory_is_kept_until_the_last_one_leaves() -> None:
    cpu = torch.device("cpu")
    with devices.kept_memory(cpu):
        with devices.kept_memory(cpu):
            assert devices.HEAP.holders == 2
        assert devices.HEAP.holders == 1
    assert devices.HEAP.holders == 0


def test_an_error_inside_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError), devices.kept_memory(torch.device("cpu")):
        raise ZeroDivisionError


def test_memory_is_what_a_container_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(devices, "CONTAINER", (limit, tmp_path / "not there"))
    machine = devices.main_memory()
    assert machine > 1 << 28
    limit.write_text("max\n")
    assert devices.main_memory() == machine
    limit.write_text("1000000\n")
    assert devices.main_memory() == 1000000
