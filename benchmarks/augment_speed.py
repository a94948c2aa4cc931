"""Augmentation on the processor: pictures a second of ours against torchvision v2, timm and kornia, one thread.

    python benchmarks/augment_speed.py [--rounds 7] [--pictures 16] [--side 224]

Every one gets bytes (H, W, 3) in memory and gives a batch back, of bytes or, kornia, of floats; parameters are drawn
anew for each picture. torchvision runs twice: on bytes as a tensor, and on Pillow images made from the bytes. Peers
take turns with ours; a figure is the median over the rounds, in pictures a second of processor time (so that other
work on the machine counts little), a ratio that of medians. kornia is skipped where it is not installed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from convista.data import Augmentation, read_policy
from convista.records import View

AGAIN = 5  # times at once, as in an epoch
BILINEAR = InterpolationMode.BILINEAR
Work = Callable[[], object]


class Kept:
    """Pictures in memory, as the training loop has them."""

    def __init__(self, stored: list[NDArray[np.uint8]]):
        self.stored, self.targets = stored, np.zeros(len(stored), np.int64)

    def __len__(self) -> int:
        return len(self.stored)

    def many(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return [self.stored[i] for i in indices]


def photographs(count: int, side: int) -> list[NDArray[np.uint8]]:
    """Smooth coloured noise."""
    random = np.random.default_rng(0)
    small = [random.integers(0, 256, (side // 8, side // 8, 3), np.uint8) for _ in range(count)]
    return [np.array(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)) for noise in small]


def cases(side: int) -> dict[str, tuple[v2.Transform | None, str | None]]:
    """Our words, torchvision's transform, and the name of kornia's with its arguments in `kornias`."""
    window = v2.Compose([v2.RandomResizedCrop(side, (0.35, 1)), v2.RandomHorizontalFlip()])
    return {
        "crop": (v2.RandomCrop(side), "crop"),
        "flip": (v2.RandomHorizontalFlip(0.5), "flip"),
        "resized=0.35,flip": (window, "resized"),
        "rotate=30": (v2.RandomRotation(30, BILINEAR), "rotate"),
        "shear=15": (v2.RandomAffine(0, shear=(-15, 15, -15, 15), interpolation=BILINEAR), "shear"),
        "translate=0.2": (v2.RandomAffine(0, (0.2, 0.2), interpolation=BILINEAR), "translate"),
        "perspective=0.5": (v2.RandomPerspective(0.5, 1.0, BILINEAR), "perspective"),
        "rotate=15,shear=10,zoom=0.2,translate=0.1": (
            v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-10, 10, -10, 10), BILINEAR), "affine"),
        "brightness=0.4": (v2.ColorJitter(0.4), "brightness"),
        "contrast=0.4": (v2.ColorJitter(0, 0.4), "contrast"),
        "saturation=0.4": (v2.ColorJitter(0, 0, 0.4), "saturation"),
        "hue=0.1": (v2.ColorJitter(0, 0, 0, 0.1), "hue"),
        "brightness=0.4,contrast=0.4,saturation=0.4,hue=0.1": (v2.ColorJitter(0.4, 0.4, 0.4, 0.1), "jitter"),
        "grey": (v2.RandomGrayscale(1.0), "grey"),
        "invert": (v2.RandomInvert(1.0), "invert"),
        "posterize=4": (v2.RandomPosterize(4, 1.0), "posterize"),
        "solarize=128": (v2.RandomSolarize(128, 1.0), "solarize"),
        "equalize": (v2.RandomEqualize(1.0), "equalize"),
        "autocontrast": (v2.RandomAutocontrast(1.0), None),
        "sharpness=0.9": (v2.RandomAdjustSharpness(1.9, 1.0), "sharpness"),
        "blur=1": (v2.GaussianBlur(7, (0.1, 1.0)), "blur"),
        "noise=10": (None, "noise"),
        "erase=0.33": (v2.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3)), "erase"),
        "rand=9@1": (v2.RandAugment(2, 9, interpolation=BILINEAR), "rand"),
        "trivial@1": (v2.TrivialAugmentWide(interpolation=BILINEAR), "trivial"),
        "resized=0.35,flip,brightness=0.4,contrast=0.4,saturation=0.4": (
            v2.Compose([window, v2.ColorJitter(0.4, 0.4, 0.4)]),
            None,
        ),
    }  # fmt: skip


def kornias(side: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Kornia's operations on a batch of floats in 0..1, each picture with its own parameters."""
    try:
        import kornia.augmentation as k
    except ImportError:
        return {}
    return {
        "crop": k.RandomCrop((side, side)),
        "flip": k.RandomHorizontalFlip(),
        "resized": torch.nn.Sequential(k.RandomResizedCrop((side, side), (0.35, 1.0)), k.RandomHorizontalFlip()),
        "rotate": k.RandomRotation(30.0, p=1.0),
        "shear": k.RandomAffine(0.0, shear=(-15.0, 15.0, -15.0, 15.0), p=1.0),
        "translate": k.RandomAffine(0.0, (0.2, 0.2), p=1.0),
        "perspective": k.RandomPerspective(0.5, p=1.0),
        "affine": k.RandomAffine(15.0, (0.1, 0.1), (0.8, 1.2), (-10.0, 10.0, -10.0, 10.0), p=1.0),
        "brightness": k.RandomBrightness((0.6, 1.4), p=1.0),
        "contrast": k.RandomContrast((0.6, 1.4), p=1.0),
        "saturation": k.RandomSaturation((0.6, 1.4), p=1.0),
        "hue": k.RandomHue((-0.1, 0.1), p=1.0),
        "jitter": k.ColorJiggle(0.4, 0.4, 0.4, 0.1, p=1.0),
        "grey": k.RandomGrayscale(p=1.0),
        "invert": k.RandomInvert(p=1.0),
        "posterize": k.RandomPosterize(4, p=1.0),
        "solarize": k.RandomSolarize(0.5, p=1.0),
        "equalize": k.RandomEqualize(p=1.0),
        "sharpness": k.RandomSharpness(0.9, p=1.0),
        "blur": k.RandomGaussianBlur((7, 7), (0.1, 1.0), p=1.0),
        "noise": k.RandomGaussianNoise(0.0, 10 / 255, p=1.0),
        "erase": k.RandomErasing((0.02, 0.33), (0.3, 3.3), p=1.0),
        "rand": k.auto.RandAugment(n=2, m=9),
        "trivial": k.auto.TrivialAugment(),
    }


def peers(word: str, transform: v2.Transform | None, kornia: Callable[[Tensor], Tensor] | None,
          pictures: list[NDArray[np.uint8]]) -> dict[str, Work]:  # fmt: skip
    """Every peer that has the operation, ready to run over all pictures once."""
    tensors = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
    work: dict[str, Work] = {}
    if transform is not None:
        work["torchvision, tensors"] = lambda: torch.stack([transform(tensor) for tensor in tensors])
        if not word.startswith("erase"):
            work["torchvision, Pillow"] = lambda: np.stack(
                [np.asarray(transform(Image.fromarray(p))) for p in pictures]
            )
    if kornia is not None:
        work["kornia"] = lambda: kornia(torch.stack(tensors).float() / 255)
    if word.startswith("rand"):
        timm = rand_augment_transform("rand-m9-mstd0-p1.0", {"interpolation": Image.Resampling.BILINEAR})
        work["timm"] = lambda: np.stack([np.asarray(timm(Image.fromarray(picture))) for picture in pictures])
    return work


def median_rates(work: dict[str, Work], rounds: int, count: int) -> dict[str, float]:
    """Pictures a second of each, in turn."""
    rates: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            start = time.process_time()
            for _ in range(AGAIN):
                run()
            if turn:
                rates[name].append(AGAIN * count / (time.process_time() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--side", type=int, default=224)
    options = parser.parse_args()
    torch.set_num_threads(1)
    side, count, theirs = options.side, options.pictures, kornias(options.side)
    print("| operation | convista | fastest peer | ratio | others |\n|---|---|---|---|---|")
    for word, (transform, name) in cases(side).items():
        stored = side * 8 // 7 if word.startswith(("crop", "resized")) else side
        pictures = photographs(count, stored)
        epochs = iter(range(10**6))

        augment, kept = Augmentation(read_policy(word), View(side, stored)), Kept(pictures)

        def ours() -> object:
            return augment(kept, np.arange(count), next(epochs))  # type: ignore[arg-type]  # noqa: B023

        work = {"convista": ours, **peers(word, transform, theirs.get(name or ""), pictures)}
        rates = median_rates(work, options.rounds, count)
        own = rates.pop("convista")
        best = max(rates, key=lambda name: rates[name])
        rest = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items() if name != best)
        print(f"| `{word}` | {own:,.0f} | {best} {rates[best]:,.0f} | {own / rates[best]:.2f} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
