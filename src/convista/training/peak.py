"""How much of what the machine can multiply training made use of."""

from __future__ import annotations

import time

import torch
from torch import Tensor

__all__ = ["measured_peak"]

SIDE = {"cuda": 8192}  # of the square matrices; 1,024 elsewhere
SECONDS = 0.3


def measured_peak(device: torch.device, precision: str) -> float:
    """Multiply-accumulates a second of a large matrix product on this device in this precision, the best of several."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    side = SIDE.get(device.type, 1024)
    a, b = (torch.ones(side, side, dtype=kind, device=device) for _ in range(2))
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as convolutions multiply
    try:
        return _best(a, b, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32


def _best(a: Tensor, b: Tensor, device: torch.device) -> float:
    best, end = 0.0, time.perf_counter() + SECONDS
    product = a @ b
    while time.perf_counter() < end or not best:
        _finish(device)
        start = time.perf_counter()
        torch.mm(a, b, out=product)
        _finish(device)
        best = max(best, len(a) ** 3 / (time.perf_counter() - start))
    return best


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
