"""Where a pixel comes from: every move of a picture is one 3x3 matrix, and they are resampled once.

A matrix takes the homogeneous coordinates (x, y, 1) of a place in the result to the place in the source where its value
is found. Places are in pixels from the upper left corner; the middle of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

__all__ = [
    "about",
    "coarseness",
    "crop",
    "flipped",
    "grid",
    "interleaved",
    "mirror",
    "move_boxes",
    "move_points",
    "moved",
    "perspective",
    "resize",
    "rotation",
    "shearing",
    "shift",
    "tensor",
    "warp",
    "warp_mask",
    "window",
    "zooming",
]

Matrix = NDArray[np.float64]
COARSE = 1.3  # source pixels a pixel beyond which bilinear interpolation would skip some
KEPT = 0.1  # share of a box's area that must still be seen


def shift(x: float, y: float) -> Matrix:
    """The picture moved right by `x` and down by `y` pixels."""
    return np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], float)


def rotation(degrees: float) -> Matrix:
    """The picture turned counter-clockwise about the origin."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], float)


def shearing(x_degrees: float, y_degrees: float) -> Matrix:
    """Rows moved along x in proportion to y, columns along y in proportion to x."""
    return np.array([[1, math.tan(math.radians(x_degrees)), 0], [math.tan(math.radians(y_degrees)), 1, 0], [0, 0, 1]])


def zooming(factor: float) -> Matrix:
    """The picture larger by `factor`."""
    return np.diag([1 / factor, 1 / factor, 1.0])


def mirror(side: int) -> Matrix:
    """Left and right exchanged."""
    return np.array([[-1, 0, side], [0, 1, 0], [0, 0, 1]], float)


def about(matrix: Matrix, side: float) -> Matrix:
    """A matrix that acts about the middle of a picture instead of its corner."""
    half = side / 2
    result: Matrix = shift(-half, -half) @ matrix @ shift(half, half)
    return result


def window(left: float, top: float, width: float, height: float, side: int) -> Matrix:
    """The result (side, side) shows this window of the source."""
    return np.array([[width / side, 0, left], [0, height / side, top], [0, 0, 1]], float)


def perspective(moves: NDArray[np.float64], side: int) -> Matrix:
    """The picture seen from aside: its corners (from the upper left, clockwise) moved inwards by (4, 2) pixels."""
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], float)
    source = np.array([[0, 0], [side, 0], [side, side], [0, side]], float)
    (x, y), (u, v) = (source + inwards * moves).T, source.T
    zero, one = np.zeros(4), np.ones(4)
    rows = np.vstack(
        [
            np.column_stack([x, y, one, zero, zero, zero, -x * u, -y * u]),
            np.column_stack([zero, zero, zero, x, y, one, -x * v, -y * v]),
        ]
    )
    return np.append(np.linalg.solve(rows, np.concatenate([u, v])), 1).reshape(3, 3)


def grid(matrices: Tensor, side: int) -> Tensor:
    """(n, 3, 3) matrices -> (n, side, side, 2): the source places (x, y) of every pixel of the result."""
    middles = torch.arange(side, dtype=matrices.dtype, device=matrices.device) + 0.5
    across, down = middles.view(1, 1, side), middles.view(1, side, 1)
    both = torch.complex(matrices[:, 0], matrices[:, 1])[:, :, None, None]  # x and y as one number: half the passes
    places = both[:, 0] * across + (both[:, 1] * down + both[:, 2])
    if bool((matrices[:, 2, :2] != 0).any()):
        w = matrices[:, 2, :, None, None]
        places = places / (w[:, 0] * across + (w[:, 1] * down + w[:, 2]))
    return torch.view_as_real(places)


def warp(picture: Tensor, matrices: Tensor, side: int) -> Tensor:
    """(n, C, H, W) floats, one (3, 3) matrix each -> (n, C, side, side), bilinear; mirrored beyond the edges."""
    height, width = picture.shape[2:]
    unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], dtype=matrices.dtype)
    places = grid(unit.to(matrices.device) @ matrices, side).to(picture.dtype)
    return grid_sample(picture, places, align_corners=False, padding_mode="reflection")


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, C) bytes -> (height, width, C), bilinear, each source pixel having its share."""
    batch = tensor(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    return interleaved(interpolate(batch, (height, width), mode="bilinear", antialias=True)[0].numpy())


def interleaved(planes: Iterable[NDArray[Any]]) -> NDArray[np.uint8]:
    """Channels (H, W) cut to whole numbers -> (H, W, C) bytes; several times as fast as a transposition."""
    planes = list(planes)
    result = np.empty((*planes[0].shape, len(planes)), np.uint8)
    for channel, plane in enumerate(planes):
        result[..., channel] = plane
    return result


def coarseness(matrix: Matrix, side: int) -> float:
    """How many source pixels, along one axis, make a pixel of the result, at its middle."""
    return math.sqrt(abs(np.linalg.det(matrix[:2, :2]))) / abs(float(matrix[2] @ [side / 2, side / 2, 1.0]))


def moved(picture: NDArray[np.uint8], matrix: Matrix, side: int) -> NDArray[np.uint8]:
    """(H, W, C) bytes -> (side, side, C) by one resampling; where that would skip pixels, made smaller first."""
    height, width, _ = picture.shape
    scale = coarseness(matrix, side)
    if scale > COARSE:
        small = max(1, round(height / scale)), max(1, round(width / scale))
        matrix = np.diag([small[1] / width, small[0] / height, 1.0]) @ matrix
        picture = resize(picture, *small)
    batch = tensor(picture).permute(2, 0, 1)[None].to(torch.float32)
    planes = warp(batch, torch.from_numpy(matrix)[None].to(torch.float32), side)[0].numpy()
    planes += 0.5
    return interleaved(planes)  # numpy cuts off, and does so faster than torch


def crop(picture: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """The window (side, side, C) at (top, left); beyond its edges the picture (H, W, C) is mirrored."""
    height, width, _ = picture.shape
    if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
        return picture[top : top + side, left : left + side]
    rows, columns = _mirror(np.arange(top, top + side), height), _mirror(np.arange(left, left + side), width)
    return np.take(np.take(picture, rows, 0), columns, 1)


def _mirror(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    positions = np.abs(positions)
    return np.where(positions >= size, 2 * (size - 1) - positions, positions)


def flipped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, C), left and right exchanged; torch does that ten times as fast as numpy."""
    return np.asarray(tensor(picture).flip(1).numpy())


def tensor(picture: NDArray[np.uint8]) -> Tensor:
    """The same memory as a tensor; a copy where it may not be written to."""
    return torch.from_numpy(picture if picture.flags.writeable else picture.copy())


def move_points(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """(n, 2) places (x, y) of the source -> where they are in the result, inside it or not."""
    back = np.linalg.inv(matrix)
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ back.T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def move_boxes(boxes: NDArray[np.float64], matrix: Matrix, side: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, 4) boxes (x1, y1, x2, y2) of the source -> those still seen, and their numbers.

    A turned box becomes the upright one around it. One of which less than a tenth is inside the result is dropped, and
    so is one without an area.
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    places = move_points(corners, matrix).reshape(-1, 4, 2)
    whole = np.concatenate([places.min(1), places.max(1)], 1)
    seen = whole.clip(0, side)
    kept = np.flatnonzero((_area(whole) > 0) & (_area(seen) >= KEPT * _area(whole)))
    return seen[kept], kept


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def warp_mask(mask: NDArray[np.integer], matrix: Matrix, side: int, outside: int = 255) -> NDArray[np.integer]:
    """(H, W) class numbers -> (side, side), the nearest one; `outside` beyond the edges."""
    places = grid(torch.from_numpy(matrix)[None], side)[0].numpy()
    columns, rows = np.floor(places[..., 0]).astype(np.int64), np.floor(places[..., 1]).astype(np.int64)
    inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    found = mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)]
    return np.where(inside, found, np.asarray(outside, mask.dtype))
