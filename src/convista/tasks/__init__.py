"""What a network is for: so far, telling classes of pictures apart."""

from convista.tasks.axes import Axes, axis, parse_axes
from convista.tasks.classify import resume_classifier, train_classifier
from convista.tasks.compare import Candidate, Comparison, Setting, Spread, compare_runs
from convista.tasks.doctor import Patient, examine
from convista.tasks.finder import find_rate
from convista.tasks.learning import Place
from convista.tasks.recipes import planned, rateless, read_recipe
from convista.tasks.run import Run
from convista.tasks.sweep import is_sweep, resume_sweep, train_sweep

__all__ = [
    "Axes",
    "Candidate",
    "Comparison",
    "Patient",
    "Place",
    "Run",
    "Setting",
    "Spread",
    "axis",
    "compare_runs",
    "examine",
    "find_rate",
    "is_sweep",
    "parse_axes",
    "planned",
    "rateless",
    "read_recipe",
    "resume_classifier",
    "resume_sweep",
    "train_classifier",
    "train_sweep",
]
