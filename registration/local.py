"""A local step after the transform: infrared is bent by a few pixels, as things at other distances need it.

The bend is a uniform cubic B-spline (Rueckert et al., "Nonrigid registration using free-form deformations", IEEE TMI
1999), found on the same edges as the transform by Gauss-Newton steps with a penalty on its curvature.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from ivif.registration.estimate import levels_of, of_level
from ivif.registration.features import SEEN, Floats, View
from ivif.registration.geometry import Matrix, Plane, Size, apply
from ivif.registration.refine import slopes, weights
from ivif.registration.search import agreement_of

_CELLS: Final = (6, 8)
"""Cells of the spline, down and across."""

_STEPS: Final = 12
_STIFF: Final = 1.0
"""Weight of curvature beside edges."""

_WEAK: Final = 0.1
"""The same of the displacement itself: where nothing is seen, nothing moves."""

_SMALL: Final = 0.02
"""Pixels: a step below it is the last."""

_UNDOING: Final = 30
"""Steps of a fixed point; a bend changes by less than half a pixel from one to the next, so each halves the error."""

_STRIP: Final = 256
"""Rows that are worked on at once."""

_BLOCKS: Final = 8
_LEAST_GAIN: Final = 0.05
"""Of itself; `benchmarks/registration_local.py` shows what pairs gain as they are, and bent by a few pixels."""

_MOST: Final = 0.03
_MOST_CHANGE: Final = 0.5


@dataclass(frozen=True)
class Bend:
    """Where pixels of the visible picture are looked for before the transform: each moved by a smooth displacement.

    Args:
        grid: (2, rows, columns) control points of a uniform cubic B-spline over the picture, across and down, in its
            pixels.
        size: (height, width) of the visible picture.
    """

    grid: Matrix
    size: Size

    def at(self, points: Matrix) -> Matrix:
        """The displacement (N, 2) of points (N, 2); that of the border outside of it."""
        cells = self.grid.shape[1] - 3, self.grid.shape[2] - 3
        down, across = (
            _basis(points[:, axis] * cells[1 - axis] / max(1, self.size[1 - axis] - 1), cells[1 - axis])
            for axis in (1, 0)
        )
        return np.stack([((down @ plane) * across).sum(1) for plane in self.grid], axis=1)

    def undone(self, points: Matrix) -> Matrix:
        """The points (N, 2) that come to lie at these when they are displaced."""
        found = points
        for _ in range(_UNDOING):
            found = points - self.at(found)
        return found

    def everywhere(self, size: Size) -> Matrix:
        """The displacement (2, h, w) of all pixels of the picture in a size of its own, in pixels of `self.size`."""
        cells = self.grid.shape[1] - 3, self.grid.shape[2] - 3
        down, across = (_basis(np.linspace(0, count, length), count) for count, length in zip(cells, size, strict=True))
        return np.asarray(down @ self.grid @ across.T)

    def is_mild(self) -> bool:
        """Whether nothing is folded, or moved or stretched by more than a bend may be."""
        moved = self.everywhere(self.size)
        change = max(float(np.abs(np.diff(moved, axis=axis)).max()) for axis in (1, 2))
        return bool(change < _MOST_CHANGE and np.abs(moved).max() < _MOST * np.hypot(*self.size))


@dataclass(frozen=True)
class Local:
    """What the local step found.

    Args:
        bend: None where it is not kept.
        gain: By what share of itself the agreement of edges grew in blocks that the bend was not made of.
        refused: Why it is not kept; empty if it is.
    """

    bend: Bend | None
    gain: float
    refused: str = ""


def bend(infrared: Plane, visible: Plane, matrix: Matrix) -> Local:
    """Looks for a bend beside a transform, and keeps it where edges that it was not made of agree better too.

    Args:
        infrared: (H, W), of any range.
        visible: (H, W).
        matrix: From pixels of the visible picture to those of the infrared one.
    """
    size = (visible.shape[0], visible.shape[1])
    levels = levels_of(infrared, visible)
    gains = []
    for parity in (0, 1):
        held_out = [_blocks(fixed.size, parity) for fixed, _ in levels]
        half = [
            (replace(fixed, seen=fixed.seen * (1 - out)), moving)
            for (fixed, moving), out in zip(levels, held_out, strict=True)
        ]
        gains.append(_gain(levels[-1], matrix, _of_levels(half, matrix, size), held_out[-1]))
    gain = float(np.mean(gains))
    if min(gains) <= 0 or gain < _LEAST_GAIN:
        return Local(None, gain, f"edges of blocks that were held out would agree little better ({100 * gain:+.1f} %)")
    found = _of_levels(levels, matrix, size)
    if not found.is_mild():
        return Local(None, gain, "the bend folds the picture, or is too strong to be one")
    return Local(found, gain)


def fit(infrared: Plane, visible: Plane, matrix: Matrix) -> Bend:
    """The bend under which edges agree best, believed or not; arguments are those of `bend`."""
    return _of_levels(levels_of(infrared, visible), matrix, (visible.shape[0], visible.shape[1]))


def _of_levels(levels: Sequence[tuple[View, View]], matrix: Matrix, size: Size) -> Bend:
    found = Bend(np.zeros((2, _CELLS[0] + 3, _CELLS[1] + 3)), size)
    for level in levels:
        for _ in range(_STEPS):
            step = _step(level, matrix, found)
            found = replace(found, grid=found.grid + step)
            if np.abs(step).max() < _SMALL:
                break
    return found


def _step(level: tuple[View, View], matrix: Matrix, now: Bend) -> Matrix:
    """One step of Gauss and Newton on the control points."""
    fixed, moving = level
    scale = now.size[1] / fixed.size[1], now.size[0] / fixed.size[0]  # pixels of the whole picture to one of the level
    warped, there = _warped(
        moving, of_level(level, matrix), now.everywhere(fixed.size) / np.array(scale)[:, None, None]
    )
    rest, seen = fixed.edges - warped, there * fixed.seen
    weight = weights(rest, seen)
    across, down = (
        (mine + other) / (2 * one) for mine, other, one in zip(slopes(fixed.edges), slopes(warped), scale, strict=True)
    )
    rows, columns = (_basis(np.linspace(0, n, m), n) for n, m in zip(_CELLS, fixed.size, strict=True))
    blocks = [
        [_normal(rows, columns, (one * other).sum(0) * weight) for other in (across, down)] for one in (across, down)
    ]
    normal = np.block(blocks)
    strength = np.trace(normal) / len(normal)
    stiff = np.kron(np.eye(2), _STIFF * _curvature(rows.shape[1], columns.shape[1]) + _WEAK * np.eye(len(normal) // 2))
    pull = np.concatenate([(rows.T @ ((one * rest).sum(0) * weight) @ columns).ravel() for one in (across, down)])
    pull -= strength * stiff @ now.grid.ravel()
    step = np.linalg.solve(normal + strength * stiff + 1e-9 * np.eye(len(normal)), pull)
    return np.asarray(step.reshape(now.grid.shape))


def _normal(rows: Matrix, columns: Matrix, values: Matrix) -> Matrix:
    """Sums of values times the products of every two of the spline's functions, (K, K)."""
    r, c = rows.shape[1], columns.shape[1]
    pairs_down = (rows[:, :, None] * rows[:, None]).reshape(len(rows), -1)
    pairs_across = (columns[:, :, None] * columns[:, None]).reshape(len(columns), -1)
    sums = (pairs_down.T @ values @ pairs_across).reshape(r, r, c, c)
    return np.asarray(sums.transpose(0, 2, 1, 3).reshape(r * c, r * c))


def _curvature(rows: int, columns: int) -> Matrix:
    """Squared second differences of a grid, down and across, as a quadratic form."""
    forms = [np.diff(np.eye(count), 2, axis=0) for count in (rows, columns)]
    down, across = (form.T @ form for form in forms)
    return np.asarray(np.kron(down, np.eye(columns)) + np.kron(np.eye(rows), across))


def _warped(moving: View, matrix: Matrix, displacement: Matrix) -> tuple[Floats, Floats]:
    """Edges and what is seen, in the frame of the displacement (2, h, w)."""
    edges = np.stack([warp_bent(channel, matrix, displacement, 0.0) for channel in moving.edges])
    return edges, (warp_bent(moving.seen, matrix, displacement, 0.0) > SEEN).astype(np.float32)


def warp_bent(picture: Plane, matrix: Matrix, displacement: Matrix, fill: float | None = None) -> Plane:
    """As `geometry.warp`, each pixel moved by a displacement (2, h, w) before the transform."""
    height, width = displacement.shape[1:]
    value = float(picture.min()) if fill is None else fill
    warped = np.empty((height, width), picture.dtype)
    for top in range(0, height, _STRIP):
        across, down = displacement[:, top : top + _STRIP]
        rows, columns = np.mgrid[top : top + len(down), :width].astype(float)
        places = apply(matrix, np.stack([columns + across, rows + down], -1).reshape(-1, 2))
        x, y = (places[:, axis].reshape(rows.shape).astype(np.float32) for axis in (0, 1))
        warped[top : top + len(down)] = cv2.remap(
            picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=value
        )
    return warped


def _gain(level: tuple[View, View], matrix: Matrix, found: Bend, held_out: Floats) -> float:
    fixed, moving = level
    scale = np.array([found.size[1] / fixed.size[1], found.size[0] / fixed.size[0]])[:, None, None]
    still = np.zeros((2, *fixed.size))
    before, after = (
        agreement_of(replace(fixed, seen=fixed.seen * held_out), *_warped(moving, of_level(level, matrix), there))
        for there in (still, found.everywhere(fixed.size) / scale)
    )
    return (after - before) / max(abs(before), 1e-6)


def _blocks(size: Size, parity: int) -> Floats:
    rows, columns = np.mgrid[: size[0], : size[1]]
    blocks = rows * _BLOCKS // size[0] + columns * _BLOCKS // size[1]
    return np.asarray(blocks % 2 == parity, dtype=np.float32)


def _basis(places: Matrix, cells: int) -> Matrix:
    """Weights (N, cells + 3) of the control points at places in [0, cells]."""
    places = np.clip(places, 0, cells)
    first = np.minimum(places.astype(int), cells - 1)
    t = places - first
    four = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    found = np.zeros((len(places), cells + 3))
    for offset in range(4):
        found[np.arange(len(places)), first + offset] = four[:, offset]
    return found
