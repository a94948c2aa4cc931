"""What a network is for: so far, telling classes of pictures apart."""

from convista.tasks.classify import Console, Place, resume_classifier, train_classifier
from convista.tasks.run import Run, pick_device

__all__ = ["Console", "Place", "Run", "pick_device", "resume_classifier", "train_classifier"]
