"""What a network is for: so far, telling classes of pictures apart."""

from convista.tasks.classify import Place, resume_classifier, train_classifier
from convista.tasks.doctor import Patient, examine
from convista.tasks.finder import find_rate
from convista.tasks.run import Run

__all__ = ["Patient", "Place", "Run", "examine", "find_rate", "resume_classifier", "train_classifier"]
