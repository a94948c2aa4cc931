"""The numbers in which a network computes: fp32, bfloat16, or fp16 with a loss that is scaled to stay in its range."""

from __future__ import annotations

import math
import os
import shutil
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convista.errors import InputError

__all__ = ["Arithmetic", "check_compiler", "compiled"]

KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Arithmetic:
    """Mixed precision (Micikevicius et al. 2017). Weights stay in fp32; calling it gives the context to compute in."""

    def __init__(self, precision: str, device: torch.device):
        self.device, self.kind = device, KINDS.get(precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def __call__(self) -> torch.autocast:
        """A context in which the network's products are computed in the precision asked for."""
        return torch.autocast(self.device.type, self.kind or torch.bfloat16, enabled=self.kind is not None)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss`, scaled where fp16 needs it."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def clip(self, net: nn.Module, optimizer: Optimizer, limit: float) -> float:
        """Takes the scale off and shortens the gradients to a norm of `limit` (0: as they are). Returns their norm."""
        self.scaler.unscale_(optimizer)
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        if 0 < limit < norm < math.inf:
            nn.utils.clip_grads_with_norm_(net.parameters(), limit, torch.tensor(norm))
        return norm

    def overflowed(self, norm: float) -> bool:
        """Whether a gradient left the range of fp16, which a smaller scale will mend."""
        return self.scaler.is_enabled() and not math.isfinite(norm) and self.scaler.get_scale() > 1

    def push(self, optimizer: Optimizer) -> None:
        """The optimiser's step."""
        self.scaler.step(optimizer)

    def adapt(self) -> None:
        """After every step: a smaller scale if it was too large, now and then a larger one."""
        self.scaler.update()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Goes back to a checkpoint's."""
        if state:
            self.scaler.load_state_dict(state)


def compiled(net: nn.Module, device: torch.device) -> nn.Module:
    """The network as `torch.compile` makes it, sharing its weights. Raises `InputError` without a C++ compiler."""
    check_compiler(device)
    return torch.compile(net)  # type: ignore[return-value]


def check_compiler(device: torch.device) -> None:
    """Raises `InputError` where `torch.compile` would find no C++ compiler for a processor."""
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
        raise InputError(
            "--compile needs a C++ compiler on the path, such as g++. Install one, or leave the option out."
        )
