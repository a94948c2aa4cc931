"""Training and judging one network."""

from convista.training.average import Average
from convista.training.board import check_tensorboard, watching
from convista.training.distributed import GlobalBatchNorm, World, joined, share_statistics
from convista.training.judge import logits_of
from convista.training.lamb import Lamb
from convista.training.loop import Console, Progress, State, Training, Where
from convista.training.metrics import calibration_error, figures, score, softmax
from convista.training.muon import Muon, orthogonal
from convista.training.optim import OPTIMIZERS, default_lr, make_optimizer, with_defaults
from convista.training.schedules import SCHEDULES, drops, rate
from convista.training.undo import Undo

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Average",
    "Console",
    "GlobalBatchNorm",
    "Lamb",
    "Muon",
    "Progress",
    "State",
    "Training",
    "Undo",
    "Where",
    "World",
    "calibration_error",
    "check_tensorboard",
    "default_lr",
    "drops",
    "figures",
    "joined",
    "logits_of",
    "make_optimizer",
    "orthogonal",
    "rate",
    "score",
    "share_statistics",
    "softmax",
    "watching",
    "with_defaults",
]
