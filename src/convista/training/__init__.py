"""Training and judging one network."""

from convista.training.arithmetic import Arithmetic, check_compiler
from convista.training.average import Average
from convista.training.board import check_tensorboard, watching
from convista.training.diagnose import diagnose
from convista.training.distributed import (
    GlobalBatchNorm,
    World,
    check_statistics,
    joined,
    launch_of_torchrun,
    share_statistics,
)
from convista.training.finder import Finder, Sweep
from convista.training.health import Diagnosis, Finding, LayerHealth
from convista.training.initial import first_convolution, freeze_whitened, initialise, lsuv, whiten
from convista.training.judge import logits_of, look
from convista.training.lamb import Lamb
from convista.training.loop import Training, check_shares
from convista.training.metrics import calibration_error, figures, score, softmax
from convista.training.muon import Muon, orthogonal
from convista.training.objective import Objective, balancing_weights
from convista.training.optim import OPTIMIZERS, default_lr, make_optimizer, with_defaults
from convista.training.peak import measured_peak
from convista.training.recalibrate import recalibrate
from convista.training.schedules import SCHEDULES, courses, drops, rate
from convista.training.stages import Thaw, slower, stages_of
from convista.training.state import Console, Progress, State, Where
from convista.training.undo import Undo

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Arithmetic",
    "Average",
    "Console",
    "Diagnosis",
    "Finder",
    "Finding",
    "GlobalBatchNorm",
    "Lamb",
    "LayerHealth",
    "Muon",
    "Objective",
    "Progress",
    "State",
    "Sweep",
    "Thaw",
    "Training",
    "Undo",
    "Where",
    "World",
    "balancing_weights",
    "calibration_error",
    "check_compiler",
    "check_shares",
    "check_statistics",
    "check_tensorboard",
    "courses",
    "default_lr",
    "diagnose",
    "drops",
    "figures",
    "first_convolution",
    "freeze_whitened",
    "initialise",
    "joined",
    "launch_of_torchrun",
    "logits_of",
    "look",
    "lsuv",
    "make_optimizer",
    "measured_peak",
    "orthogonal",
    "rate",
    "recalibrate",
    "score",
    "share_statistics",
    "slower",
    "softmax",
    "stages_of",
    "watching",
    "whiten",
    "with_defaults",
]
