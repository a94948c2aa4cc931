"""What a network is for: so far, telling classes of pictures apart."""

from convista.tasks.classify import Place, resume_classifier, train_classifier
from convista.tasks.recipes import read_recipe
from convista.tasks.run import Run

__all__ = ["Place", "Run", "read_recipe", "resume_classifier", "train_classifier"]
