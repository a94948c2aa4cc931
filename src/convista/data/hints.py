"""What other libraries call an augmentation, and how to say it here."""

from __future__ import annotations

import re

__all__ = ["hint"]

SEARCHED = "is not built in. Nearest: trivial (TrivialAugment) or rand (RandAugment), whose operations need no search."
MIRRORED = "is the word flip here, which light and strong hold already; --flip adds it to any other policy."
JITTER = "is four words here: brightness=0.4,contrast=0.4,saturation=0.4,hue=0.05; give those that you want."
HINTS = {
    "affine": "is rotate, shear, zoom and translate here; together they are one resampling.",
    "augmix": "is not built in. Nearest: trivial (TrivialAugment) or rand (RandAugment).",
    "autoaugment": SEARCHED,
    "centercrop": "is what is seen without crop: --no-crop.",
    "colorjitter": JITTER,
    "colourjitter": JITTER,
    "cutmix": "is an option of its own, beside any --augment: --cutmix 1, which is its alpha.",
    "erasing": "is the word erase here: erase=0.25@0.25.",
    "fliplr": MIRRORED,
    "gaussianblur": "is the word blur here: blur=1, a standard deviation in pixels.",
    "gaussiannoise": "is the word noise here: noise=10, in grey levels.",
    "hflip": MIRRORED,
    "horizontalflip": MIRRORED,
    "jitter": JITTER,
    "mixup": "is an option of its own, beside any --augment: --mixup 0.2, which is its alpha.",
    "normalise": "is done to all pictures, with the mean and standard deviation of those that are trained on.",
    "normalize": "is done to all pictures, with the mean and standard deviation of those that are trained on.",
    "resizedcrop": "is the word resized here: resized=0.35, the least share of the area.",
    "scale": "is the word zoom here: zoom=0.2; or resized=0.35, windows of different sizes.",
    "verticalflip": "is not built in: pictures are mirrored from left to right (flip). rotate=180 turns them about.",
    "vflip": "is not built in: pictures are mirrored from left to right (flip). rotate=180 turns them about.",
}  # fmt: skip


def hint(part: str, known: dict[str, str]) -> str:
    """How to say what somebody calls `part`; nothing where that is not known. `known`: our words, and what they mean.

    >>> hint("RandomHorizontalFlip@0.5", {})[:25]
    'is the word flip here, wh'
    """
    name = re.sub(r"[\s_-]|[=@].*", "", part.lower())
    bare = name.removeprefix("random")
    if bare in HINTS or name in HINTS:
        return HINTS.get(bare) or HINTS[name]
    if re.match(r"rand-|rand(om)?aug", part):
        return "is the word rand here: rand=9, its strength from 0 to 30."
    ours = next((word for word in known if word.replace("_", "") == bare), "")
    return f"is the word {ours} here: {known[ours]}." if ours else ""
