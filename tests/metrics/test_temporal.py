"""Temporal metrics of videos that were made to have known values."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ivif.metrics.temporal import TemporalScores, estimated_motion

SIZE = (48, 64)


def texture() -> Tensor:
    """(80, 96): smooth noise in [.2, .8]."""
    noise = gaussian_filter(np.random.default_rng(0).random((80, 96)), 2)
    return torch.from_numpy((0.2 + 0.6 * (noise - noise.min()) / np.ptp(noise)).astype(np.float32))


def window(left: int, top: int = 8) -> Tensor:
    """(1, H, W): what a camera sees that looks so far right and down."""
    return texture()[None, top : top + SIZE[0], left : left + SIZE[1]]


def no_motion(first: Tensor, second: Tensor) -> Tensor:
    return torch.zeros(1, 2, *first.shape[-2:])


def scores(
    fused: list[Tensor], infrared: list[Tensor], visible: list[Tensor], estimate: bool = True
) -> dict[str, float]:
    own = TemporalScores() if estimate else TemporalScores(no_motion)
    for frames in zip(fused, infrared, visible, strict=True):
        own.update(*frames)
    return own.compute()


def test_a_static_pair_has_none() -> None:
    still = [window(8)] * 4
    assert scores(still, still, still) == pytest.approx({"BiSWE": 0.0, "MS2R": 0.0}, abs=1e-4)


@pytest.mark.parametrize("levels", [2, 10])
def test_flicker_counts_its_amplitude_twice(levels: int) -> None:
    still = (window(8) * 255).round() / 255
    flicker = [still + (number % 2) * levels / 255 for number in range(6)]
    found = scores(flicker, [still] * 6, [still] * 6, estimate=False)
    assert found["BiSWE"] == pytest.approx(2 * levels, rel=1e-4)
    assert found["MS2R"] == 0.0
    assert scores(flicker, [still] * 6, [still] * 6)["BiSWE"] == pytest.approx(2 * levels, rel=0.1)


def test_a_pair_that_moves_evenly_has_almost_none() -> None:
    moving = [window(2 * number) for number in range(6)]
    found = scores(moving, moving, moving)
    assert found["BiSWE"] < 1.5
    assert found["MS2R"] == 0.0
    assert scores(moving, moving, moving, estimate=False)["BiSWE"] > 10  # what motion explains


def test_a_fused_video_that_jerks_is_found() -> None:
    even = [window(2 * number) for number in range(5)]
    jerks = [window(left) for left in (0, 4, 4, 8, 8)]  # 4, 0, 4, 0 pixels a step, its sources 2
    found = scores(jerks, even, even)
    assert found["MS2R"] == pytest.approx(4 / 2, rel=0.15)  # of x and y, which does not jerk


def test_motion_is_in_pixels_to_the_right_and_down() -> None:
    flow = estimated_motion(window(8)[None] * 255, window(5, 6)[None] * 255)
    inner = flow[0, :, 8:-8, 8:-8].mean(dim=(1, 2))
    assert inner.tolist() == pytest.approx([3, 2], abs=0.2)


def test_what_a_source_covers_does_not_count() -> None:
    still = window(8)
    flicker = [still + (number % 2) * 0.1 for number in range(3)]

    def covered(first: Tensor, second: Tensor) -> Tensor:
        return torch.full((1, 2, *SIZE), 3.0)  # forth and back alike: no pixel stays

    own = TemporalScores(covered)
    for frame in flicker:
        own.update(frame, still, still)
    assert own.compute()["BiSWE"] == 0.0


def test_too_few_or_too_small_frames() -> None:
    assert math.isnan(scores([window(8)] * 2, [window(8)] * 2, [window(8)] * 2)["BiSWE"])
    with pytest.raises(ValueError, match="at least 16 pixels"):
        TemporalScores().update(*[torch.zeros(1, 8, 8)] * 3)
