"""Augmentation in words: `light,rotate=15,hue=0.1@0.5`, read into a policy and written out again."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from convista.data.hints import hint
from convista.errors import InputError, UnknownNameError

__all__ = ["NAMED", "WORDS", "Act", "Policy", "flip_changes_class", "for_classes", "mirrors_note", "read_policy"]


@dataclass(frozen=True)
class Word:
    """What an amount means and where it may lie; None: the word takes no amount."""

    help: str
    amount: float | None = None
    least: float = 0.0
    most: float = 1.0


WORDS = {
    "crop": Word(
        "a random window of the stored picture; where pictures are hardly larger than the window (short side below 8/7 "
        "of its), it reaches up to an eighth beyond, and they are mirrored at the edge"
    ),
    "resized": Word("a window of at least this share of the picture's area, its sides 3:4 to 4:3, resized", 0.35, 0.01),
    "flip": Word("mirrored, half of the time"),
    "alternate": Word("mirrored in every other epoch: what one epoch did not mirror, the next one does"),
    "rotate": Word("turned by up to so many degrees", 15, 0, 180),
    "shear": Word("sheared along both axes by up to so many degrees", 10, 0, 60),
    "shear_x": Word("sheared along the rows by up to so many degrees", 10, 0, 60),
    "shear_y": Word("sheared along the columns by up to so many degrees", 10, 0, 60),
    "zoom": Word("larger or smaller by up to this share", 0.2, 0, 0.9),
    "translate": Word("moved along both axes by up to this share of the side", 0.1),
    "translate_x": Word("moved to the side by up to this share of the side", 0.1),
    "translate_y": Word("moved up or down by up to this share of the side", 0.1),
    "perspective": Word("each corner moved inwards by up to this share of half the side", 0.3, 0, 0.9),
    "brightness": Word("all values times 1 ± up to this", 0.4),
    "contrast": Word("distance from the mean grey times 1 ± up to this", 0.4),
    "saturation": Word("distance from grey times 1 ± up to this", 0.4),
    "hue": Word("colours turned about the grey axis by up to this share of the circle", 0.05, 0, 0.5),
    "shift": Word("each colour channel brighter or darker by up to so many grey levels", 20, 0, 255),
    "grey": Word("without colour; `grey@0.1` makes one picture in ten grey"),
    "invert": Word("the negative"),
    "posterize": Word("down to as few as so many bits a value", 4, 1, 8),
    "solarize": Word("values above a threshold, at least this one, inverted", 128, 0, 256),
    "equalize": Word("histogram of each channel made flat"),
    "autocontrast": Word("darkest value of each channel to 0, brightest to 255"),
    "sharpness": Word("sharper or softer: distance from the smoothed picture times 1 ± up to this", 0.5),
    "blur": Word("Gaussian blur with a standard deviation of up to so many pixels", 1.0, 0, 20),
    "noise": Word("Gaussian noise of up to so many grey levels", 10, 0, 255),
    "erase": Word("a rectangle of up to this share of the area painted over", 0.25, 0.02),
    "cutout": Word("a square of this share of the side painted over, anywhere", 0.25),
    "rand": Word("RandAugment: two of 14 operations at this strength, of 30", 9, 0, 30),
    "trivial": Word("TrivialAugment: one of 14 operations at any strength, wide ranges"),
}
NAMED = {
    "none": "",
    "light": "crop,flip",
    "strong": "resized=0.35,flip,rotate=10,brightness=0.4,contrast=0.4,saturation=0.4,hue=0.05,erase=0.25@0.25",
    "simclr": (
        "resized=0.08,flip,brightness=0.8@0.8,contrast=0.8@0.8,saturation=0.8@0.8,hue=0.2@0.8,grey@0.2,blur=2@0.5"
    ),
    "simclr_small": "resized=0.08,flip,brightness=0.4@0.8,contrast=0.4@0.8,saturation=0.4@0.8,hue=0.1@0.8,grey@0.2",
}
ALONE = ("rand", "trivial")  # where nothing stands beside these, windows and mirrors come first
ALSO = {
    "color": "saturation",
    "grayscale": "grey",
    "randaugment": "rand",
    "trivialaugment": "trivial",
    "trivialaugmentwide": "trivial",
}
SURE = ("crop", "alternate")  # these happen always
WINDOWS, MIRRORS = ("crop", "resized"), ("flip", "alternate")
Part = tuple[str, list["Act"]]  # as it was said, and what it means
ONCE = {WINDOWS: "choose a window", MIRRORS: "mirror"}


@dataclass(frozen=True)
class Act:
    """One operation of a policy: its word, its largest amount, and how often it happens (0..1)."""

    word: str
    amount: float | None = None
    chance: float = 1.0

    def __str__(self) -> str:
        own = WORDS[self.word].amount
        amount = "" if self.amount is None or (own is None) else f"={self.amount:g}"
        return f"{self.word}{amount}" + (f"@{self.chance:g}" if self.chance != _usual(self.word) else "")


@dataclass(frozen=True)
class Policy:
    """The operations that a picture goes through, in this order; geometry acts at once, before the rest.

    >>> print(read_policy("light,rotate=15,hue@0.5"))
    crop,flip,rotate=15,hue=0.05@0.5
    """

    acts: tuple[Act, ...] = ()

    def __str__(self) -> str:
        text = ",".join(map(str, self.acts)) or "none"
        return f"{text}@1" if text.partition("=")[0] in ALONE and "@" not in text and len(self.acts) == 1 else text

    def has(self, *words: str) -> bool:
        """Whether one of these operations is among them."""
        return any(act.word in words for act in self.acts)

    def without(self, *words: str) -> Policy:
        """The policy without these operations."""
        return Policy(tuple(act for act in self.acts if act.word not in words))

    def allowing(self, crop: bool, flip: bool | None) -> Policy:
        """Without windows unless `crop`, without mirrors where `flip` is False, with one where it is True."""
        found = self if crop else self.without(*WINDOWS)
        if flip is False:
            return found.without(*MIRRORS)
        return found if found.has(*MIRRORS) or flip is None else Policy((*found.acts, Act("flip", chance=0.5)))


def for_classes(text: str, crop: bool, flip: bool | None, labels: Sequence[str]) -> Policy:
    """What the words of a recipe come to for these classes: no mirrors where they change it."""
    return read_policy(text).allowing(crop, False if flip is None and flip_changes_class(labels) else flip)


def mirrors_note(flip: bool | None, policy: Policy, labels: Sequence[str]) -> str:
    """Why there are no mirrors, where nobody asked for that; else nothing."""
    if flip is not None or policy.has(*MIRRORS) or not flip_changes_class(labels):
        return ""
    shown = ", ".join(labels[:3])
    return f"Pictures are not mirrored: of classes such as {shown} that may show something else. --flip turns it on."


def _usual(word: str) -> float:
    return 0.5 if word == "flip" else 1.0


def read_policy(text: str) -> Policy:
    """`WORD[=AMOUNT][@CHANCE],…` -> a policy; `light`, `strong`, … stand for what they mean. Raises `InputError`.

    >>> read_policy("rotate=500")
    Traceback (most recent call last):
    convista.errors.InputError: rotate=500 was given; expected 0 to 180: turned by up to so many degrees.
    """
    text = re.sub(r"\s*([=@,])\s*", r"\1", text.strip().lower()).rstrip(",")
    if ";" in text:
        raise InputError(
            f"augment='{text}' was given; ';' stands between the policies of a sweep: --sweep 'augment={text}'. "
            "Within one policy, words stand between commas."
        )
    parts = text.split(",")
    word = text.partition("=")[0]
    if len(parts) == 1 and ALSO.get(word, word) in ALONE and "@" not in text:
        parts = ["crop", "flip", text]
    read = [(part, _read(part.strip())) for part in parts]
    for words, what in ONCE.items():
        given = [(part, acts) for part, acts in read if any(act.word in words for act in acts)]
        if len(given) > 1:
            raise InputError(f"augment={text} was given: {_twice(given[0], given[1], words, what)}")
    return Policy(tuple(act for _, acts in read for act in acts))


def _twice(first: Part, second: Part, words: tuple[str, ...], what: str) -> str:
    """Why two parts do not go together, and what to say instead."""
    names = [f"{part} (which is {NAMED[part]})" if part in NAMED else part for part, _ in (first, second)]
    if first[0] == second[0]:
        return f"{names[0]} stands there twice; one of them is enough."
    large, small = sorted((first, second), key=lambda part: part[0] not in NAMED)
    remedy = "one of them is enough."
    if set(small[1]) <= set(large[1]):
        remedy = f"{large[0]} alone is enough."
    elif large[0] in NAMED and small[0] not in NAMED:
        rest = [str(act) for act in large[1] if act.word not in words]
        remedy = f"say {','.join([*rest, small[0]])} instead."
    return f"{names[0]} and {names[1]} both {what}; {remedy}"


def _read(part: str) -> list[Act]:
    if part in NAMED:
        return [act for piece in NAMED[part].split(",") if piece for act in _read(piece)]
    found = re.fullmatch(r"([a-z_]+)(?:=([^@=]+))?(?:@([^@=]+))?", part)
    if not found or ALSO.get(found[1], found[1]) not in WORDS:
        _explain(part)
    if not found:
        raise InputError(
            f"'{part}' was given in augment; expected WORD, WORD=AMOUNT or WORD=AMOUNT@CHANCE; "
            "convista augment --words lists them."
        )
    name, amount, chance = found.groups()
    name = ALSO.get(name, name)
    if name not in WORDS:
        raise UnknownNameError("augmentation", name, [*NAMED, *WORDS])
    word = WORDS[name]
    if amount is not None and word.amount is None:
        raise InputError(f"{part} was given; {name} takes no amount: {word.help}.")
    value = word.amount if amount is None else _number(part, amount, word.least, word.most, word.help)
    if chance is not None and name in SURE:
        raise InputError(f"{part} was given; {name} takes no chance: {word.help}.")
    often = _usual(name) if chance is None else _number(part, chance, 0.0, 1.0, "how often it happens")
    return [Act(name, value, often)]


def _explain(part: str) -> None:
    """Raises `InputError` for what is meant in another way than it is said."""
    name, said = re.split("[=@]", part)[0], hint(part, {word: meaning.help for word, meaning in WORDS.items()})
    if name in NAMED:
        raise InputError(f"{part} was given; {name} stands for words and takes neither amount nor chance of its own.")
    if said and name not in WORDS:
        raise InputError(f"'{part}' was given in augment; {name} {said}")


def _number(part: str, text: str, least: float, most: float, meaning: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise InputError(f"{part} was given; expected {least:g} to {most:g}: {meaning}.")
    return value


def flip_changes_class(labels: Sequence[str]) -> bool:
    """Whether a mirrored picture would show something else: digits, letters, left and right.

    >>> flip_changes_class(["0", "1", "7"]), flip_changes_class(["turn left", "turn right"])
    (True, True)
    >>> flip_changes_class(["cat", "dog"])
    False
    """
    symbols = all(len(label) == 1 or label.isdigit() for label in labels)
    return symbols or any(re.search(r"(?:^|[\W_])(left|right)(?:$|[\W_])", label.lower()) for label in labels)
