"""The last pixels: Gauss-Newton steps on the difference of edges (Lucas-Kanade), with little weight on what differs."""

from typing import Final, Literal

import cv2
import numpy as np

from ivif.registration.features import Floats, View
from ivif.registration.geometry import Matrix

Model = Literal["similarity", "affine", "homography"]

_STEPS: Final = 20
_SMALL: Final = 0.01
"""Pixels: a step below it is the last."""

_LEAST_OVERLAP: Final = 0.3


def refine(fixed: View, moving: View, matrix: Matrix, model: Model) -> Matrix | None:
    """A transform from the fixed to the moving picture's pixels, nearer to where edges agree; None if it got lost."""
    height, width = fixed.size
    half = max(height, width) / 2
    to_pixels = np.array([[half, 0, (width - 1) / 2], [0, half, (height - 1) / 2], [0, 0, 1]])
    to_unit = np.linalg.inv(to_pixels)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    basis = _basis(model, ((columns - to_pixels[0, 2]) / half).ravel(), ((rows - to_pixels[1, 2]) / half).ravel())
    own = slopes(fixed.edges)
    for _ in range(_STEPS):
        warped, there = moving.warped(matrix, fixed.size)
        seen = there * fixed.seen
        if seen.mean() < _LEAST_OVERLAP:
            return None
        across, down = ((mine + other) * (half / 2) for mine, other in zip(own, slopes(warped), strict=True))
        step = _solve(basis, across, down, fixed.edges - warped, seen)
        matrix = matrix @ to_pixels @ _matrix(model, step) @ to_unit
        matrix = matrix / matrix[2, 2]
        if not np.isfinite(matrix).all():
            return None
        if np.abs(step).max() * half < _SMALL:
            break
    return matrix


def _basis(model: Model, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How each parameter moves a point across and down, (parameters, pixels) each."""
    none, all_ = np.zeros_like(x), np.ones_like(x)
    if model == "similarity":
        return np.stack([all_, none, x, -y]), np.stack([none, all_, y, x])
    across, down = [all_, none, x, none, y, none], [none, all_, none, x, none, y]
    if model == "homography":
        across, down = [*across, -x * x, -x * y], [*down, -x * y, -y * y]
    return np.stack(across), np.stack(down)


def _matrix(model: Model, step: Matrix) -> Matrix:
    if model == "similarity":
        return np.array([[1 + step[2], -step[3], step[0]], [step[3], 1 + step[2], step[1]], [0, 0, 1]])
    last = step[6:] if model == "homography" else np.zeros(2)
    return np.array([[1 + step[2], step[4], step[0]], [step[3], 1 + step[5], step[1]], [*last, 1]])


def slopes(edges: Floats) -> tuple[Floats, Floats]:
    """How edges (8, h, w) grow to the right and downwards, per pixel."""

    def along(x: int, y: int) -> Floats:
        return np.stack([cv2.Scharr(channel, cv2.CV_32F, x, y) for channel in edges], dtype=np.float32) / np.float32(32)

    return along(1, 0), along(0, 1)


def weights(rest: Floats, seen: Floats) -> Floats:
    """Cauchy's weight (h, w) of each pixel, by the median of what differs (8, h, w)."""
    squared = (rest**2).sum(0)
    usual = float(np.median(squared[seen > 0])) if seen.any() else 0.0
    return np.asarray(seen / (1 + squared / (usual + 1e-9)))


def _solve(basis: tuple[Floats, Floats], across: Floats, down: Floats, rest: Floats, seen: Floats) -> Matrix:
    """One weighted least-squares step."""
    weight = weights(rest, seen)
    products = ((across, across), (across, down), (down, down))
    xx, xy, yy = ((first * second).sum(0) * weight for first, second in products)
    x, y = basis
    mixed = (x * xy.ravel()) @ y.T
    normal = ((x * xx.ravel()) @ x.T + mixed + mixed.T + (y * yy.ravel()) @ y.T).astype(np.float64)
    pull = [((slope * rest).sum(0) * weight).ravel() for slope in (across, down)]
    damped = normal + 1e-6 * np.trace(normal) * np.eye(len(normal)) + 1e-12 * np.eye(len(normal))
    return np.asarray(np.linalg.solve(damped, x @ pull[0] + y @ pull[1]))
