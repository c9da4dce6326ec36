"""Smoothed gains, on videos whose flicker is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ivif.inference.video.smoothing import GainSmoother
from ivif.metrics.temporal import TemporalScores


def picture(seed: int = 0) -> Tensor:
    """(3, 32, 48) in [.3, .7], grey."""
    noise = torch.from_numpy(np.random.default_rng(seed).random((4, 6)).astype(np.float32))[None, None]
    smooth = torch.nn.functional.interpolate(noise, (32, 48), mode="bicubic").clamp(0, 1)
    return (0.3 + 0.4 * smooth[0]).expand(3, -1, -1)


def smoothed(frames: list[Tensor], seconds: float = 0.5) -> list[Tensor]:
    smoother = GainSmoother(seconds)
    return [smoother(frame, number / 25) for number, frame in enumerate(frames)]


def flicker_of(frames: list[Tensor]) -> float:
    still = picture()
    scores = TemporalScores(lambda _, second: torch.zeros(1, 2, *second.shape[-2:]))
    for frame in frames:
        scores.update(frame, still[:1], still)
    return scores.compute()["BiSWE"]


def test_flicker_of_brightness_and_contrast_goes() -> None:
    frames = [(picture() - 0.5) * (1 + 0.1 * (number % 2)) + 0.5 + 0.04 * (number % 2) for number in range(30)]
    before, after = flicker_of(frames), flicker_of(smoothed(frames))
    assert before == pytest.approx(2 * 0.04 * 255, rel=0.1)
    assert after < before / 10


def test_a_steady_video_stays_as_it_is() -> None:
    frames = [picture()] * 5
    assert all(torch.equal(*pair) for pair in zip(smoothed(frames), frames, strict=True))


def test_a_change_arrives_within_the_time_that_was_asked_for() -> None:
    frames = [picture()] + [picture() + 0.1] * 50
    medians = [float(frame[0].median()) for frame in smoothed(frames)]
    rise = [(median - medians[0]) / 0.1 for median in medians]
    assert rise[13] == pytest.approx(1 - np.exp(-13 / 25 / 0.5), abs=0.02)
    assert rise[50] == pytest.approx(1 - np.exp(-50 / 25 / 0.5), abs=0.02)


def test_a_cut_begins_anew() -> None:
    frames = [picture(0), picture(0), 1 - picture(0) + 0.05, 1 - picture(0) + 0.05]
    assert torch.allclose(smoothed(frames)[2], frames[2])


def test_colours_are_shifted_alike() -> None:
    red = torch.stack([picture()[0] + 0.2, picture()[0], picture()[0]])
    later = smoothed([red, red + 0.05])[1]
    assert torch.allclose(later[0] - later[1], red[0] - red[1], atol=1e-5)
