"""Training and judging one network."""

from convista.training.distributed import GlobalBatchNorm, World, joined, share_statistics
from convista.training.loop import Progress, State, Training, logits_of
from convista.training.metrics import calibration_error, score, softmax
from convista.training.optim import default_lr, learning_rate, make_optimizer

__all__ = [
    "GlobalBatchNorm",
    "Progress",
    "State",
    "Training",
    "World",
    "calibration_error",
    "default_lr",
    "joined",
    "learning_rate",
    "logits_of",
    "make_optimizer",
    "score",
    "share_statistics",
    "softmax",
]
