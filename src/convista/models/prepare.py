"""From pictures to what a set of weights expects."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convista.data import BadPictureError, upright
from convista.errors import InputError
from convista.records import Preprocessing

__all__ = ["prepare_pictures"]

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
Picture = str | os.PathLike[str] | Image.Image


def prepare_pictures(pictures: Picture | Iterable[Picture], how: Preprocessing) -> Tensor:
    """Pictures (paths or Pillow images) as a batch (N, C, crop, crop): resized, centre-cropped, scaled as `how` says.

    >>> prepare_pictures(Image.new("RGB", (300, 200)), Preprocessing()).shape
    torch.Size([1, 3, 224, 224])
    """
    single = isinstance(pictures, str | os.PathLike | Image.Image)
    each: Iterable[Picture] = [pictures] if single else pictures  # type: ignore[list-item,assignment]
    made = [_prepared(picture, how) for picture in each]
    if not made:
        raise InputError("No picture was given.")
    return torch.stack(made)


def _prepared(picture: Picture, how: Preprocessing) -> Tensor:
    try:
        picture = upright(picture if isinstance(picture, Image.Image) else Path(picture).read_bytes())
    except (OSError, BadPictureError) as error:
        raise InputError(f"{picture} is not a readable picture ({error}).") from None
    picture = picture.convert("L" if len(how.mean) == 1 else "RGB")
    scale = how.resize / min(picture.size)
    if scale != 1:
        size = (max(how.crop, round(picture.width * scale)), max(how.crop, round(picture.height * scale)))
        picture = picture.resize(size, FILTERS[how.interpolation])
    left, top = (picture.width - how.crop) // 2, (picture.height - how.crop) // 2
    cut = np.asarray(picture.crop((left, top, left + how.crop, top + how.crop)), dtype=np.float32)
    x = torch.from_numpy(cut.copy()).reshape(how.crop, how.crop, -1).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (how.mean, how.std))
    return (x - mean) / std
