"""What a pretrained network learns of one's own pictures: its head alone, or more of it. Said in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from convista.blocks import Net
from convista.errors import InputError, UnknownNameError
from convista.recipe import Recipe
from convista.training import Thaw, stages_of

__all__ = [
    "HEAD",
    "Plan",
    "Situation",
    "check_words",
    "chosen",
    "depends_on_distance",
    "last_stages",
    "planned",
    "tuned_recipe",
    "words_of_tuning",
]

HEAD = ("augment", "crop", "dropout", "epochs", "flip", "limit", "mixup", "precision", "seed", "unfreeze")
MADE = (
    "channels",
    "image",
    "init",
    "init_scale",
    "model",
    "recalibrate",
    "stochastic_depth",
    "views",
    "what_if",
    "whiten",
    "zero_last",
)
SURE = 0.99  # cross-validated accuracy beyond which no more is to be gained
NEAR = {"last": 20, "gradual": 200}  # pictures per class from which it is worth it, where the pictures are near those
FAR = {"last": 10, "gradual": 50}  # of the pretraining, and where they are far from them
GRADUALLY = 2  # stages thaw in the first half of the epochs


@dataclass(frozen=True)
class Situation:
    """What a plan is made from: training pictures `per_class`, the probe's cross-validated accuracy and the head's on
    validation (0..1), and where the pictures lie: `near` those of the pretraining, `apart` from or `far` from them, or
    `unknown`. No number for an accuracy that could not be measured.
    """

    per_class: float
    accuracy: float
    distance: str = "unknown"
    validation: float = 0.0

    def __str__(self) -> str:
        where = {"near": ", near those of the pretraining", "far": ", far from those of the pretraining"}
        probe = "" if math.isnan(self.accuracy) else f"the probe has {self.accuracy:.1%} of those left out right, "
        many = f"{self.per_class:,.0f} picture{'s' * (round(self.per_class) != 1)}"
        return (
            f"{many} in each class on average{where.get(self.distance, '')}; "
            f"{probe}the head has {self.validation:.1%} of validation right"
        )

    @property
    def best(self) -> float:
        """The higher accuracy."""
        return self.validation if math.isnan(self.accuracy) else max(self.accuracy, self.validation)


@dataclass(frozen=True)
class Plan:
    """`kind` is none, last, gradual or all; `first` the stage from which on the network learns, "" for its head alone;
    `why` says it in words.
    """

    kind: str
    first: str = ""
    why: str = ""

    @property
    def steps(self) -> list[str]:
        """As `run.json` names them: the probe, the head, then what learns further."""
        return ["probe", "head"] + ([f"{self.kind} from {self.first}"] if self.first else [])

    def thaw(self, epochs: int) -> Thaw:
        """Which stages learn in which of so many epochs."""
        return Thaw(self.first, epochs // GRADUALLY if self.kind == "gradual" else 0)


def chosen(situation: Situation) -> tuple[str, str]:
    """What is worth learning, and why.

    >>> chosen(Situation(per_class=30, accuracy=0.9, distance="near"))[0], chosen(Situation(5, 0.9))[0]
    ('last', 'none')
    """
    bounds = FAR if situation.distance == "far" else NEAR
    if situation.best >= SURE:
        return "none", f"The head alone learns: {situation}, so that little is to be gained."
    if situation.per_class < bounds["last"]:
        return "none", f"The head alone learns: {situation}; more of the network would learn so few by heart."
    if situation.per_class < bounds["gradual"]:
        return "last", f"The last stages learn further, too: {situation}."
    return "gradual", f"The whole network learns further, from its end to its beginning: {situation}."


def depends_on_distance(recipe: Recipe, situation: Situation) -> bool:
    """Whether a plan has to know how far the pictures lie from those of the pretraining."""
    free = recipe.unfreeze == "auto" and not recipe.freeze_until
    return free and situation.best < SURE and FAR["last"] <= situation.per_class < NEAR["gradual"]


def planned(net: nn.Module, recipe: Recipe, situation: Situation) -> Plan:
    """The plan that the recipe asks for, or the one that fits the situation.

    Raises `UnknownNameError` for a stage that is not there, `InputError` for words that exclude each other.
    """
    check_words(net, recipe)
    kind, why = recipe.unfreeze, ""
    if kind == "auto":
        kind, why = ("last", "") if recipe.freeze_until else chosen(situation)
    if kind == "none":
        return Plan("none", "", why or "The head alone learns, as was asked for.")
    usual = last_stages(net) if kind == "last" else next(iter(stages_of(net)))
    first, how = recipe.freeze_until or usual, "one stage after the other" if kind == "gradual" else "all at once"
    return Plan(kind, first, why or f"From {first} on the network learns further, {how}, as was asked for.")


def tuned_recipe(words: dict[str, Any], source: str, given: Iterable[str] | None = None) -> Recipe:
    """The recipe of a run that begins with `source`; `given` are the words that no recipe file brought, all if None.

    Raises `InputError` for those of them that are not its to decide; what a file says of them is left out.
    """
    asked = set(words if given is None else given)
    alone = words.get("unfreeze") == "none"
    for word in words:
        if word in MADE and word in asked:
            raise InputError(f"{word}={words[word]} was given beside --from {source}, which leaves no choice of it.")
        if alone and word not in HEAD and word in asked:
            raise InputError(
                f"{word}={words[word]} was given beside --unfreeze none: a head alone does not ask for it. "
                f"It takes {', '.join(HEAD)}."
            )
    return Recipe.of(**{word: value for word, value in words.items() if word not in MADE} | {"model": source})


def words_of_tuning(recipe: Recipe) -> list[str]:
    """The words that differ from what is usual and that a head alone does not ask for."""
    usual = asdict(Recipe())
    own = {*HEAD, *MADE, "freeze_until", "patience"}
    return [word for word, value in asdict(recipe).items() if word not in own and value != usual[word]]


def check_words(net: nn.Module, recipe: Recipe) -> None:
    """Raises what `planned` raises for words, before any picture is looked at."""
    if not recipe.freeze_until:
        return
    if recipe.unfreeze == "none":
        raise InputError(
            f"freeze_until={recipe.freeze_until} was given beside unfreeze={recipe.unfreeze}, which says something "
            "else: leave one of them out."
        )
    stages = list(stages_of(net))
    if recipe.freeze_until not in stages:
        raise UnknownNameError("stage", recipe.freeze_until, stages)
    Thaw(recipe.freeze_until).learning(net, 0)


def last_stages(net: nn.Module) -> str:
    """The first stage whose maps are as coarse as the last ones; without a table, the last stage before the head.

    >>> from convista.models import create
    >>> last_stages(create("resnet18")), last_stages(create("mobilenet_v2"))
    ('conv5_x', 'bottleneck6')
    """
    stages = list(stages_of(net))
    if isinstance(net, Net) and len(net.spec.levels) > 1:
        rows = [name for name, _ in net.spec.table.rows]
        before = net.spec.levels[-2].name.partition(".")[0]
        behind = [name for name in stages[:-1] if rows.index(name) > rows.index(before)]
        if behind:
            return behind[0]
    return stages[-2] if len(stages) > 1 else stages[-1]
