"""How a fused video holds together in time: BiSWE and MS2R of VF-Bench, lower is better.

Source: Zhao et al., "A Unified Solution to Video Fusion: From Multi-Frame Learning to Benchmarking", NeurIPS 2025, and
the evaluation code published with it (VF-Bench). Departures: grey levels are scored, not three channels, and motion is
by default estimated with OpenCV's DIS in place of SEA-RAFT with its weights, so that values compare with each other but
not with the paper's tables. Another estimate of motion can be given.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ivif.metrics.preparation import grey_levels

Flow = Callable[[Tensor, Tensor], Tensor]
"""Motion between two pictures (1, 1, H, W) of grey levels: (1, 2, H, W), how many pixels to the right and down each
pixel of the first lies in the second."""

_AGREES: Final = 1.0
"""Pixels up to which motion forth and back must cancel; beyond, a pixel is taken as covered in one of the two."""

_SMALLEST: Final = 16


class _Frame(NamedTuple):
    """Grey levels (1, 1, H, W) of one moment."""

    fused: Tensor
    infrared: Tensor
    visible: Tensor


class _Step(NamedTuple):
    """What changes between two frames: motion of each of the three videos from the first to the second, and errors.

    `ahead` is the error of the second frame warped to the first, `back` that of the first warped to the second.
    """

    motion: tuple[Tensor, Tensor, Tensor]
    ahead: float
    back: float


class TemporalScores:
    """Mean BiSWE and MS2R over all three frames in a row of a video; keeps one frame and one step.

    BiSWE, the bidirectional self-warping error: the frames before and after are warped to the middle one along the
    fused video's own motion; the mean absolute differences to it, in grey levels, are added. Pixels that are covered
    in one of the sources (their motion forth and back does not cancel within a pixel) do not count.

    MS2R, motion smoothness with two reference videos: how much the motion changes from one step to the next in the
    fused video, compared with each source: the mean absolute difference in pixels, averaged over both sources.

    Args:
        flow: How motion is estimated.

    Example:
        >>> scores = TemporalScores(lambda first, second: torch.zeros(1, 2, *first.shape[2:]))
        >>> for level in (100, 104, 100):
        ...     scores.update(torch.full((3, 16, 16), level / 255), torch.zeros(1, 16, 16), torch.zeros(3, 16, 16))
        >>> scores.compute()
        {'BiSWE': 8.0, 'MS2R': 0.0}
    """

    def __init__(self, flow: Flow | None = None) -> None:
        self._flow = flow or estimated_motion
        self._frame: _Frame | None = None
        self._step: _Step | None = None
        self._sums = [0.0, 0.0]
        self._count = 0

    def update(self, fused: Tensor, infrared: Tensor, visible: Tensor) -> None:
        """Takes the next frame: (1 or 3, H, W) each, in [0, 1].

        Raises:
            ValueError: If sizes differ, change, or are below 16 pixels.
        """
        frame = _Frame(*(grey_levels(image[None].cpu()) for image in (fused, infrared, visible)))
        shapes = {image.shape for image in (*frame, *(self._frame or ()))}
        if len(shapes) > 1 or min(fused.shape[-2:]) < _SMALLEST:
            raise ValueError(f"Frames of one size, of at least {_SMALLEST} pixels, are compared: got {sorted(shapes)}.")
        if self._frame is not None:
            step = self._compare(self._frame, frame)
            if self._step is not None:
                self._sums[0] += self._step.back + step.ahead
                self._sums[1] += _unevenness(self._step, step)
                self._count += 1
            self._step = step
        self._frame = frame

    def compute(self) -> dict[str, float]:
        """Both means by name; NaN of fewer than three frames."""
        means = [total / self._count if self._count else float("nan") for total in self._sums]
        return dict(zip(("BiSWE", "MS2R"), means, strict=True))

    def _compare(self, first: _Frame, second: _Frame) -> _Step:
        pairs = list(zip(first, second, strict=True))
        forth = [self._flow(*pair) for pair in pairs]
        back = [self._flow(*pair[::-1]) for pair in pairs]
        ahead = _error(first.fused, _warped(second.fused, forth[0]), _kept(forth, back))
        behind = _error(second.fused, _warped(first.fused, back[0]), _kept(back, forth))
        return _Step((forth[0], forth[1], forth[2]), ahead, behind)


def estimated_motion(first: Tensor, second: Tensor) -> Tensor:
    """Motion by dense inverse search (Kroeger et al., 2016), as OpenCV has it; see `Flow`."""
    import cv2  # which ultralytics brings, and nothing else of this room needs

    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.ascontiguousarray(image[0, 0].round().to(torch.uint8).numpy()) for image in (first, second)]
    flow = method.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), dtype=np.float32))
    return torch.from_numpy(np.asarray(flow)).permute(2, 0, 1)[None]


def _warped(image: Tensor, motion: Tensor) -> Tensor:
    """An image (1, C, H, W) looked up where its pixels have moved to; beyond the border the nearest pixel."""
    height, width = image.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = 2 * (columns + motion[:, 0]) / (width - 1) - 1
    y = 2 * (rows + motion[:, 1]) / (height - 1) - 1
    places = torch.stack((x, y), dim=-1).to(image.dtype)
    warped: Tensor = grid_sample(image, places, mode="bilinear", padding_mode="border", align_corners=True)
    return warped


def _kept(there: list[Tensor], back: list[Tensor]) -> Tensor:
    """(1, 1, H, W): the pixels that both sources show in both frames; the fused video's own motion does not count."""
    kept = [
        (forth + _warped(home, forth)).norm(dim=1, keepdim=True) < _AGREES
        for forth, home in zip(there[1:], back[1:], strict=True)
    ]
    return torch.logical_and(kept[0], kept[1])


def _error(frame: Tensor, warped: Tensor, kept: Tensor) -> float:
    """The mean absolute difference over the pixels that are kept; 0 where none is."""
    return float(((frame - warped).abs() * kept).sum() / kept.sum().clamp(min=1))


def _unevenness(before: _Step, after: _Step) -> float:
    changes = [late - early for early, late in zip(before.motion, after.motion, strict=True)]
    return float(sum((changes[0] - change).abs().mean() for change in changes[1:]) / 2)
