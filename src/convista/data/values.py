"""What happens to the values of a picture: steps on bytes (H, W, C), few of them, as neighbours become one.

Everything that is linear in the values, contrast included, is one `Linear`; everything that looks values up is one
`Table`. A value is rounded and kept within 0..255 at the end of a step, not within it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from convista.data.geometry import interleaved, tensor

__all__ = ["Blur", "Erase", "Histogram", "Linear", "Noise", "Sharpness", "Step", "Table", "hash_normal", "kernel"]

Bytes = NDArray[np.uint8]
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2
LEVELS = np.arange(256)


@dataclass(frozen=True)
class Linear:
    """Values x with channel means m become `values @ x + means @ m + offset`."""

    values: NDArray[np.float64]  # (C, C)
    means: NDArray[np.float64]  # (C, C)
    offset: NDArray[np.float64]  # (C,)

    @classmethod
    def of(cls, values: NDArray[np.float64], offset: float | NDArray[np.float64] = 0.0) -> Linear:
        """Without the means."""
        channels = len(values)
        return cls(values, np.zeros((channels, channels)), np.broadcast_to(offset, (channels,)).astype(float))

    @classmethod
    def contrast(cls, factor: float, channels: int) -> Linear:
        """The distance from the picture's mean grey times `factor`."""
        to_mean = (1 - factor) * np.tile(weights(channels), (channels, 1))
        return cls(factor * np.eye(channels), to_mean, np.zeros(channels))

    @classmethod
    def saturation(cls, factor: float, channels: int) -> Linear:
        """The distance from each pixel's own grey times `factor`."""
        return cls.of(factor * np.eye(channels) + (1 - factor) * np.tile(weights(channels), (channels, 1)))

    @classmethod
    def hue(cls, turns: float) -> Linear:
        """Colours turned about the axis of greys, brightness kept (`hue-rotate` of W3C's filter effects)."""
        c, s = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
        grey = np.tile([0.213, 0.715, 0.072], (3, 1))
        across = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])
        return cls.of(grey + c * (np.eye(3) - grey) + s * across)

    def after(self, first: Linear) -> Linear:
        """`first`, then this one, as one step."""
        total = first.values + first.means
        return Linear(
            self.values @ first.values,
            self.values @ first.means + self.means @ total,
            self.values @ first.offset + self.means @ first.offset + self.offset,
        )

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        if self._grey:
            grey = Image.fromarray(picture).convert("L")
            return np.array(Image.merge("RGB", [grey] * 3))
        offset = self.offset + (self.means @ _channel_means(picture) if self.means.any() else 0)
        floats, scales = picture.reshape(-1, picture.shape[2]).astype(np.float32), np.diag(self.values)
        if not (self.values - np.diag(scales)).any() and not np.ptp(scales):
            floats *= np.float32(scales[0])
        elif not np.ptp(self.values, 0).any():  # grey
            floats = floats @ self.values[:1].T.astype(np.float32)
        else:
            floats = floats @ np.ascontiguousarray(self.values.T, np.float32)
        alike = np.ptp(offset) < 1e-9  # one number is added several times as fast as a row of them
        floats += np.float32(offset[0] + 0.5) if alike else (offset + 0.5).astype(np.float32)
        np.clip(floats, 0, 255, out=floats)
        values = floats.astype(np.uint8).reshape(*picture.shape[:2], -1)
        return values if values.shape == picture.shape else interleaved([values[..., 0]] * picture.shape[2])

    @property
    def _grey(self) -> bool:
        """Whether each colour becomes its grey and nothing else happens, for which Pillow has a routine."""
        return (
            self.values.shape == (3, 3)
            and np.array_equal(self.values, [GREY] * 3)
            and not (self.means.any() or self.offset.any())
        )

    def batch(self, pictures: Tensor, steps: list[Linear]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        values, means, offset = (_stack(pictures, steps, name) for name in ("values", "means", "offset"))
        offset = offset + torch.einsum("nij,nj->ni", means, pictures.mean((2, 3)))
        return torch.einsum("nij,njhw->nihw", values, pictures) + offset[:, :, None, None]


@dataclass(frozen=True)
class Table:
    """Each value is looked up: (256, C) bytes."""

    values: Bytes

    @classmethod
    def of(cls, function: Callable[[NDArray[np.int64]], NDArray[np.floating]], channels: int) -> Table:
        """The same function for all channels, of the values 0..255."""
        return cls(np.repeat(_bytes(function(LEVELS))[:, None], channels, 1))

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        table = np.ascontiguousarray(self.values[:, 0])
        if (self.values == _bits(table)[:, None]).all():
            return np.asarray((picture & (table[255] ^ table[0])) ^ table[0])
        if picture.size % 2 == 0 and picture.flags.c_contiguous and (self.values == table[:, None]).all():
            pairs = (table.astype(np.uint16)[:, None] << 8 | table).ravel()  # two values at once
            return np.take(pairs, picture.reshape(-1).view(np.uint16)).view(np.uint8).reshape(picture.shape)
        return self.through_pillow(_image(picture)).reshape(picture.shape)

    def through_pillow(self, image: Image.Image) -> Bytes:
        """The same for a Pillow image, each channel by its own column."""
        return np.array(image.point(self.values.T.ravel().tolist()))

    def batch(self, pictures: Tensor, steps: list[Table]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        tables = _stack(pictures, steps, "values").transpose(1, 2)  # (n, C, 256)
        levels = pictures.add(0.5).clamp(0, 255).long().flatten(2)
        return tables.gather(2, levels).view(pictures.shape)


@dataclass(frozen=True)
class Histogram:
    """`equalize` or `autocontrast`: a table for each channel, made from its own histogram."""

    kind: str

    def table(self, counts: NDArray[np.int64]) -> Bytes:
        """(C, 256) counts -> (256, C) values."""
        make = {"equalize": _equal, "autocontrast": _stretched}[self.kind]
        return _bytes(make(counts)).T

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        image = _image(picture)
        table = Table(self.table(np.reshape(image.histogram(), (-1, 256))))
        return table.through_pillow(image).reshape(picture.shape)

    def batch(self, pictures: Tensor, steps: list[Histogram]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        channels = pictures.shape[1]
        levels = pictures.add(0.5).clamp(0, 255).long().flatten(2)
        counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=pictures.device)
        counts.scatter_add_(2, levels, torch.ones_like(levels))
        tables = [Table(step.table(row)) for step, row in zip(steps, counts.cpu().numpy(), strict=True)]
        return Table(np.zeros((256, channels), np.uint8)).batch(pictures, tables)


def _bits(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a table would be that keeps some bits and turns some, as posterize and invert do."""
    return np.asarray((LEVELS.astype(np.uint8) & (table[255] ^ table[0])) ^ table[0])


def _equal(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cumulated counts spread over 0..255, the brightest level's own counts left out of the step between levels."""
    brightest = 255 - (counts[:, ::-1] > 0).argmax(1)
    step = (counts.sum(1) - counts[np.arange(len(counts)), brightest]) // 255
    flat = (np.cumsum(counts, 1) - counts + step[:, None] // 2) // np.maximum(step, 1)[:, None]
    return np.where(step[:, None] == 0, LEVELS, flat).astype(float)


def _stretched(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    low, high = (counts > 0).argmax(1)[:, None], 255 - (counts[:, ::-1] > 0).argmax(1)[:, None]
    return np.where(low == high, LEVELS, (LEVELS - low) * (255 / np.maximum(high - low, 1)))


@dataclass(frozen=True)
class Sharpness:
    """The distance from the smoothed picture (3 x 3, the middle weighing 5 of 13) times `factor`; the rim is kept."""

    factor: float

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        height, width, channels = picture.shape
        if min(height, width) < 3:
            return picture
        floats = picture.reshape(height, -1).astype(np.float32)
        rows = floats[:-2] + floats[1:-1]
        rows += floats[2:]
        smooth = rows[:, : -2 * channels] + rows[:, channels:-channels]
        smooth += rows[:, 2 * channels :]
        smooth *= np.float32((1 - self.factor) / 13)
        middle = floats[1:-1, channels:-channels]
        smooth += middle * np.float32(self.factor + 4 * (1 - self.factor) / 13)
        floats[1:-1, channels:-channels] = smooth
        return _bytes(floats).reshape(picture.shape)

    def batch(self, pictures: Tensor, steps: list[Sharpness]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        height, width = pictures.shape[2:]
        if min(height, width) < 3:
            return pictures
        rows = pictures[:, :, :-2] + pictures[:, :, 1:-1] + pictures[:, :, 2:]
        middle = pictures[:, :, 1:-1, 1:-1]
        smooth = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(middle, alpha=4).div_(13)
        factors = pictures.new_tensor([step.factor for step in steps]).view(-1, 1, 1, 1)
        result = pictures.clone()
        result[:, :, 1:-1, 1:-1] = torch.lerp(smooth, middle, factors)
        return result


@dataclass(frozen=True)
class Blur:
    """Gaussian blur; `sigma` in pixels. Beyond the edges the picture is mirrored."""

    sigma: float

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        height, width, channels = picture.shape
        reach = min(_reach(self.sigma), height - 1, width - 1)
        weights = kernel(self.sigma, reach).tolist()
        wide = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), "reflect").astype(np.float32)
        rows = torch.from_numpy(wide).view(height + 2 * reach, -1)
        down = rows[:height] * weights[0]
        for i, weight in enumerate(weights[1:], 1):
            down.add_(rows[i : i + height], alpha=weight)
        span = width * channels
        across = down[:, :span] * weights[0]
        for i, weight in enumerate(weights[1:], 1):
            across.add_(down[:, i * channels : i * channels + span], alpha=weight)
        return _bytes(across.numpy()).reshape(picture.shape)

    def batch(self, pictures: Tensor, steps: list[Blur]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        reach = min(max(_reach(step.sigma) for step in steps), *(side - 1 for side in pictures.shape[2:]))
        own = [kernel(step.sigma, min(_reach(step.sigma), reach)) for step in steps]
        weights = pictures.new_tensor(np.stack([np.pad(row, reach - len(row) // 2) for row in own]))
        for axis in (2, 3):
            margin = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
            wide, size = pad(pictures, margin, mode="reflect"), pictures.shape[axis]
            pictures = wide.narrow(axis, 0, size) * weights[:, 0].view(-1, 1, 1, 1)
            for i in range(1, 2 * reach + 1):
                pictures.addcmul_(wide.narrow(axis, i, size), weights[:, i].view(-1, 1, 1, 1))
        return pictures


def kernel(sigma: float, reach: int) -> NDArray[np.float64]:
    """A Gaussian's values at -reach..reach, their sum 1."""
    values = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / max(sigma, 1e-3)))
    return np.asarray(values / values.sum())


def _reach(sigma: float) -> int:
    return max(1, math.ceil(3 * sigma))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of `sigma` grey levels, each value's own, from `key`."""

    sigma: float
    key: int

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        noise = np.take(_quantiles() * np.float32(self.sigma), _hashed(self.key, picture.size))
        noise += picture.reshape(-1)
        return _bytes(noise).reshape(picture.shape)

    def batch(self, pictures: Tensor, steps: list[Noise]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        n, channels, height, width = pictures.shape
        draws = torch.stack([hash_normal(step.key, pictures[0].numel(), pictures.device) for step in steps])
        sigma = pictures.new_tensor([step.sigma for step in steps]).view(-1, 1, 1, 1)
        return pictures + sigma * draws.view(n, height, width, channels).permute(0, 3, 1, 2)


def hash_normal(key: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """(count,) normal numbers, the same on any device: SplitMix64 of `key`, sixteen bits each."""
    return _quantiles_on(str(device))[_sixteen_bits(key, count, device)]


def _hashed(key: int, count: int) -> NDArray[np.uint16]:
    """What `_sixteen_bits` gives, as numpy does it, which a processor likes better."""
    z = np.arange(-(-count // 4), dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(key % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z.view(np.uint16)[:count] ^ np.uint16(32768)


def _sixteen_bits(key: int, count: int, device: torch.device | str) -> Tensor:
    z = torch.arange(-(-count // 4), dtype=torch.int64, device=device) * -7046029254386353131 + key
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * -4658895280553007687
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * -7723592293110705685
    z = z ^ ((z >> 31) & ((1 << 33) - 1))
    return z.view(torch.int16)[:count].to(torch.int32) + 32768


@lru_cache
def _quantiles_on(device: str) -> Tensor:
    return torch.from_numpy(_quantiles()).to(device)


@lru_cache
def _quantiles() -> NDArray[np.float32]:
    """The normal distribution's quantiles at the middles of 65,536 equal parts."""
    normal = NormalDist()
    upper = [normal.inv_cdf((i + 0.5) / 65536) for i in range(32768, 65536)]
    return np.array([-value for value in reversed(upper)] + upper, np.float32)


@dataclass(frozen=True)
class Erase:
    """A rectangle (left, top, right, bottom) painted over with `value` (C,)."""

    box: tuple[int, int, int, int]
    value: tuple[int, ...]

    def __call__(self, picture: Bytes) -> Bytes:
        """(H, W, C) -> the same shape."""
        left, top, right, bottom = self.box
        picture = picture.copy()
        picture[top:bottom, left:right] = self.value
        return picture

    def batch(self, pictures: Tensor, steps: list[Erase]) -> Tensor:
        """(n, C, H, W) floats, a step for each -> the same shape."""
        left, top, right, bottom = pictures.new_tensor([step.box for step in steps]).view(-1, 4, 1, 1).unbind(1)
        rows = torch.arange(pictures.shape[2], device=pictures.device).view(1, -1, 1)
        columns = torch.arange(pictures.shape[3], device=pictures.device).view(1, 1, -1)
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        return torch.where(inside[:, None], _stack(pictures, steps, "value")[:, :, None, None], pictures)


Step = Linear | Table | Histogram | Sharpness | Blur | Noise | Erase


def weights(channels: int) -> NDArray[np.float64]:
    """What each channel adds to grey."""
    return GREY if channels == 3 else np.full(channels, 1 / channels)


def _channel_means(picture: Bytes) -> NDArray[np.float64]:
    height, width, channels = picture.shape
    rows = tensor(np.ascontiguousarray(picture)).view(height, width * channels)
    return np.asarray(rows.sum(0, dtype=torch.int32).view(width, channels).sum(0).numpy() / (height * width))


def _image(picture: Bytes) -> Image.Image:
    return Image.fromarray(picture if picture.shape[2] > 1 else picture[..., 0])


def _bytes(values: NDArray[np.floating]) -> Bytes:
    """Rounded and kept within 0..255, in place."""
    values = np.asarray(values)
    values += 0.5
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def _stack(pictures: Tensor, steps: list[Linear] | list[Table] | list[Erase], name: str) -> Tensor:
    return pictures.new_tensor(np.stack([np.asarray(getattr(step, name), float) for step in steps]))
