"""The first guess: every shift, and some turns and scales, by how well edges agree (normalised correlation, by FFT)."""

from collections.abc import Sequence

import cv2
import numpy as np

from ivif.registration.features import Floats, View
from ivif.registration.geometry import Matrix

_LEAST_OVERLAP = 0.3


def search(
    fixed: View, moving: View, degrees: Sequence[float], scales: Sequence[float], reach: float
) -> tuple[float, Matrix]:
    """The best similarity of a grid.

    Args:
        fixed: The picture whose frame is kept.
        moving: The other one.
        degrees: Turns to try.
        scales: Scales to try, relative to the two sizes.
        reach: Largest shift to try beside both centres upon each other, as a share of the fixed picture's width.

    Returns:
        The correlation in [-1, 1], and the transform from the fixed to the moving picture's pixels.
    """
    most = max(1, round(reach * fixed.size[1]))
    grid = tuple(cv2.getOptimalDFTSize(length + most) for length in fixed.size)
    shifts = np.r_[0 : most + 1, -most:0]
    centred = _centred(fixed.edges, fixed.seen)
    edges, energy = _spectrum(centred, grid), _spectrum((centred**2).sum(0), grid)
    seen = _spectrum(fixed.seen, grid)
    best = (-1.0, np.eye(3))
    for matrix in _candidates(fixed, moving, degrees, scales):
        warped, there = moving.warped(matrix, fixed.size)
        if there.mean() < _LEAST_OVERLAP:
            continue
        warped = _centred(warped, there)
        common = _correlate((np.conj(edges) * _spectrum(warped, grid)).sum(0), grid, shifts)
        own = _correlate(np.conj(energy) * _spectrum(there, grid), grid, shifts)
        other = _correlate(np.conj(seen) * _spectrum((warped**2).sum(0), grid), grid, shifts)
        score = common / np.sqrt(np.maximum(own * other, 1e-6))
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        if score[row, column] > best[0]:
            shift = np.array([[1, 0, shifts[column]], [0, 1, shifts[row]], [0, 0, 1.0]])
            best = (float(score[row, column]), matrix @ shift)
    return best


def _candidates(fixed: View, moving: View, degrees: Sequence[float], scales: Sequence[float]) -> list[Matrix]:
    """Both centres upon each other, turned and scaled."""
    (x, y), (to_x, to_y) = (((view.size[1] - 1) / 2, (view.size[0] - 1) / 2) for view in (fixed, moving))
    found = []
    for angle in np.deg2rad(degrees):
        for scale in scales:
            c, s = scale * np.cos(angle), scale * np.sin(angle)
            found.append(np.array([[c, -s, to_x - c * x + s * y], [s, c, to_y - s * x - c * y], [0, 0, 1]]))
    return found


def _centred(edges: Floats, seen: Floats) -> Floats:
    mean = (edges * seen).sum((1, 2), keepdims=True) / max(float(seen.sum()), 1.0)
    return np.asarray((edges - mean) * seen, dtype=np.float32)


def _spectrum(values: Floats, grid: tuple[int, ...]) -> Floats:
    return np.asarray(np.fft.rfft2(values, grid))


def _correlate(product: Floats, grid: tuple[int, ...], shifts: Floats) -> Floats:
    return np.asarray(np.fft.irfft2(product, grid)[np.ix_(shifts, shifts)])


def agreement(fixed: View, moving: View, matrix: Matrix) -> float:
    """Normalised correlation of edges under a transform, in [-1, 1]; 0 where the pictures hardly overlap."""
    warped, there = moving.warped(matrix, fixed.size)
    seen = there * fixed.seen
    return 0.0 if seen.mean() < _LEAST_OVERLAP else agreement_of(fixed, warped, seen)


def agreement_of(fixed: View, warped: Floats, there: Floats) -> float:
    """The same of edges that lie in the fixed picture's frame, where both are seen."""
    seen = there * fixed.seen
    own, other = _centred(fixed.edges, seen), _centred(warped, seen)
    return float((own * other).sum() / max(float(np.sqrt((own**2).sum() * (other**2).sum())), 1e-6))
