"""How fast a network is on this machine: warmed up, measured many times, beside the machine's own best."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch import Tensor, nn

from convista.blocks import Spec
from convista.devices import pick_device
from convista.errors import InputError
from convista.models.foreign import Borrowed, ForeignSpec
from convista.pricing.count import Image, Priced, cost, named, subject_of
from convista.pricing.trace import generators_kept

__all__ = ["Latency", "measure"]

WARM, LEAST, MOST = 3, 10, 200  # runs before the clock counts, and the fewest and most that it counts


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass in eval mode: the median, the quartiles around it, and the best.

    `peak_share` is the network's FLOP/s, at its best, as a share of `peak_gflops`, the best of a large matrix product
    on the same device, with the same type and threads, in the same minute.
    """

    ms: float
    quarter: float
    three_quarters: float
    best: float
    runs: int
    batch: int
    device: str
    threads: int
    peak_gflops: float
    peak_share: float


def measure(
    model: Priced, image: Image | None = None, batch: int = 1, device: str = "auto", seconds: float = 2.0
) -> Latency:
    """Runs a network for about `seconds` on random pictures and says how long one pass takes. Raises `InputError`.

    Weights are random unless `model` is a module, of which a copy is run.
    """
    if not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch={batch!r} was given; expected a whole number of at least 1.")
    place = pick_device(device)
    price = cost(model, image)
    with generators_kept():
        net = _built(model, image).to(place).eval()
        kinds = (p.dtype for p in net.parameters() if p.is_floating_point())
        x = torch.randn(batch, *price.image, device=place, dtype=next(kinds, torch.get_default_dtype()))
    with torch.inference_mode(), generators_kept():
        times = _timed(lambda: net(x), place, seconds)
        peak = _peak(place, x.dtype)
    low, median, high = quantiles(times, n=4)
    share = price.flops * batch / min(times) / peak
    threads = torch.get_num_threads() if place.type == "cpu" else 0
    spread = (1e3 * median, 1e3 * low, 1e3 * high, 1e3 * min(times))
    return Latency(*spread, len(times), batch, _name(place), threads, peak / 1e9, share)


def _built(model: Priced, image: Image | None) -> nn.Module:
    if isinstance(model, nn.Module):
        if any(p.is_meta for p in model.parameters()):
            raise InputError("A network on the meta device has no numbers to run with: build it on a real device.")
        return copy.deepcopy(model)
    if isinstance(model, str | os.PathLike):
        model = named(os.fspath(model))
    if isinstance(model, Spec | ForeignSpec | Borrowed):
        return model()
    made = subject_of(model, image).net.to_empty(device="cpu")
    for tensor in [*made.parameters(), *made.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.01, 0.02)
    return made


def _timed(run: Callable[[], Tensor], place: torch.device, seconds: float) -> list[float]:
    for _ in range(WARM):
        _once(run, place)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() < end):
        times.append(_once(run, place))
    return times


def _once(run: Callable[[], Tensor], place: torch.device) -> float:
    start = time.perf_counter()
    run()
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    elif place.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - start


def _peak(place: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, at its best."""
    n = 8192 if place.type == "cuda" else 1024
    a = torch.randn(n, n, device=place, dtype=dtype)
    return 2 * n**3 / min(_timed(lambda: a @ a, place, 0.3))


def _name(place: torch.device) -> str:
    return torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
