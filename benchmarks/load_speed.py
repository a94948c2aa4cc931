"""Loading pictures from the second epoch on, against decoding them with Pillow each time, interleaved.

    python benchmarks/load_speed.py [--data FOLDER] [--pairs 5]

Without --data, 256 JPEG photographs of 500 x 375 pixels are made. One thread; the peer opens, converts, resizes and
crops as torchvision's usual transform does, ours cuts a random window out of the cache and mirrors half of them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from convista.data import Augmentation, PixelCache, Prepared, global_batches, open_source, prepare, read_policy
from convista.records import View


def make_photographs(root: Path, each: int = 128, size: tuple[int, int] = (500, 375)) -> Path:
    """Two classes of smooth coloured noise, which compresses like photographs do (about 60 kB)."""
    random = np.random.default_rng(0)
    for label in ("warm", "cold"):
        (root / label).mkdir(parents=True)
        for i in range(each):
            noise = random.integers(0, 255, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
            noise[..., 0 if label == "cold" else 2] //= 3
            image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN)
            image.save(root / label / f"{i}.jpg", quality=90)
    return root


def pillow(paths: list[Path], side: int) -> float:
    """Pictures a second."""
    start = time.perf_counter()
    for path in paths:
        image = Image.open(path).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        np.asarray(image.crop((left, top, left + side, top + side)))
    return len(paths) / (time.perf_counter() - start)


def ours(found: Prepared, epoch: int) -> float:
    """Pictures a second."""
    train, augment = found.splits["train"], Augmentation(read_policy("light"), View(224, 256))
    start = time.perf_counter()
    for indices in global_batches(len(train), 32, 0, epoch):
        augment(train, indices, epoch)
    return len(train) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or make_photographs(Path(folder) / "photos")
        source = open_source(data)
        found = prepare(source, 256, 3, 0, PixelCache(Path(folder) / "cache", 256, 3))
        paths = [data / picture.path for picture in found.splits["train"].pictures]
        ours(found, 0)
        pairs = [(ours(found, i + 1), pillow(paths, 224)) for i in range(options.pairs)]
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    print(f"cache {a:,.0f} images/s, Pillow {b:,.0f} images/s: {ratio:.1f}x", end=" ")
    print(f"(median of {len(pairs)} pairs, {len(paths)} pictures)")


if __name__ == "__main__":
    main()
