"""What a training loss is made of, in words: why it is another measure than the validation's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LOSS_WORDS", "judged_terms", "loss_terms"]

LOSS_WORDS = {
    "label_smoothing": "label smoothing {:g}",
    "focal": "focal loss, gamma {:g}",
    "mixup": "mixup {:g}",
    "cutmix": "cutmix {:g}",
    "class_weights": "class weights",
    "balanced": "every class equally often",
    "dropout": "dropout {:g}",
    "stochastic_depth": "stochastic depth {:g}",
}  # words of a recipe that change the loss, and how to say so
OF_A_HEAD = ("mixup", "dropout")  # those that a head on features heeds
JUDGED = {
    "ema": "running average of the weights, decay {:g}",
    "views": "{} views of each picture",
    "recalibrate": "statistics of normalisation measured anew",
}


def loss_terms(recipe: Mapping[str, Any], policy: str, head: bool = False) -> list[str]:
    """What the training loss has that the validation's has not; `head`: it is that of a head on features.

    >>> loss_terms({"label_smoothing": 0.1, "focal": 2.0, "balanced": False}, "crop,flip")
    ['changed pictures: crop,flip', 'label smoothing 0.1', 'focal loss, gamma 2']
    """
    words = {word: said for word, said in LOSS_WORDS.items() if not head or word in OF_A_HEAD}
    changed = [f"changed pictures: {policy}"] if policy not in ("", "none") else []
    return changed + _said(words, recipe)


def judged_terms(recipe: Mapping[str, Any], head: bool = False) -> list[str]:
    """What the validation's figures are of, where it is more than the network on each picture once."""
    single = {"views": 0} if recipe.get("views") == 1 else {}
    return [] if head else _said(JUDGED, {**recipe, **single})


def _said(words: Mapping[str, str], recipe: Mapping[str, Any]) -> list[str]:
    return [said.format(recipe[word]) for word, said in words.items() if recipe.get(word)]
