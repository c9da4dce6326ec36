"""Transforms of a video: jitter of single estimates, wild ones, and views that change."""

from itertools import pairwise

import numpy as np
import pytest

from ivif.registration import Registration, SmoothedTransforms
from ivif.registration.geometry import Matrix, corner_distance

SIZE = (240, 320)
REFUSED = "two halves of the picture disagree by 9.0 % of the diagonal"
WELL = "it lies well as it is: edges would agree little better (0.50 to 0.51)"


def shifted(across: float, down: float) -> Matrix:
    return np.array([[1, 0, across], [0, 1, down], [0, 0, 1.0]])


def found(matrix: Matrix, refused: str = "") -> Registration:
    return Registration(np.eye(3) if refused else matrix, refused, 5.0, 0.2, 0.5, 0.1, 0.2, matrix)


def smoothed(estimates: list[Registration], rate: float = 25) -> list[Matrix]:
    transforms = SmoothedTransforms(SIZE, SIZE)
    return [transforms(number / rate, one) for number, one in enumerate(estimates)]


def jitter(matrices: list[Matrix]) -> float:
    """Mean movement of corners from frame to frame, in pixels."""
    return float(np.mean([corner_distance(*pair, SIZE) for pair in pairwise(matrices)]))


def test_noise_of_two_pixels_and_wild_estimates_become_a_tenth_of_a_pixel_of_jitter() -> None:
    random = np.random.default_rng(0)
    raw = [shifted(*(np.array([8, -5]) + random.normal(0, 2, 2))) for _ in range(100)]
    estimates = [found(matrix) for matrix in raw]
    for number in range(10, 100, 10):
        estimates[number] = found(shifted(-60, 40))
    for number in range(15, 100, 10):
        estimates[number] = found(shifted(90, 90), REFUSED)
    shown = smoothed(estimates)
    assert jitter(raw) > 3
    assert jitter(shown[25:]) < 0.15
    assert all(corner_distance(matrix, shifted(8, -5), SIZE) < 1.5 for matrix in shown[25:])


def test_the_first_frames_stay_and_what_was_believed_last_stays() -> None:
    estimates = [found(shifted(90, 90), REFUSED)] * 3 + [found(shifted(6, 2))] + [found(shifted(0, 9), REFUSED)] * 60
    shown = smoothed(estimates)
    assert all(corner_distance(matrix, np.eye(3), SIZE) < 1e-3 for matrix in shown[:3])
    assert all(corner_distance(matrix, shifted(6, 2), SIZE) < 1e-3 for matrix in shown[3:])


def test_a_new_view_is_followed_gradually_and_one_that_lies_well_is_one() -> None:
    estimates = [found(shifted(8, 0))] * 50 + [found(shifted(3, 3), WELL)] * 75
    shown = smoothed(estimates)
    assert shown[49][0, 2] == pytest.approx(8)
    assert shown[60][0, 2] == pytest.approx(8)  # not half a second yet
    assert corner_distance(shown[-1], np.eye(3), SIZE) < 0.2
    assert max(corner_distance(*pair, SIZE) for pair in pairwise(shown)) < 1  # 8 pixels, not at once


def test_frames_of_two_sizes_begin_as_they_are() -> None:
    plain = SmoothedTransforms((120, 160), SIZE)(0.0, found(np.eye(3), REFUSED))
    assert plain[0, 0] == pytest.approx(0.5)
    assert plain[0, 2] == pytest.approx(-0.25)
