"""Training and judging one network."""

from convista.training.distributed import GlobalBatchNorm, World, joined, share_statistics
from convista.training.judge import logits_of
from convista.training.loop import Console, Progress, State, Training, Where
from convista.training.metrics import calibration_error, figures, score, softmax
from convista.training.optim import default_lr, learning_rate, make_optimizer, with_defaults
from convista.training.undo import Undo

__all__ = [
    "Console",
    "GlobalBatchNorm",
    "Progress",
    "State",
    "Training",
    "Undo",
    "Where",
    "World",
    "calibration_error",
    "default_lr",
    "figures",
    "joined",
    "learning_rate",
    "logits_of",
    "make_optimizer",
    "score",
    "share_statistics",
    "softmax",
    "with_defaults",
]
