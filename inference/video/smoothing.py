"""Against flicker: brightness and contrast of fused frames follow slowly, as the exposure of a camera does."""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ivif.image_ops.color import luma

_SKETCH: Final = 16
"""Side of the small pictures by which a cut is noticed."""

_SAME_SCENE: Final = 0.5
"""Correlation of two frames' small pictures from which on they show the same scene."""

_FLAT: Final = 1 / 255
"""Spread of a frame without contrast, which is not stretched."""


class GainSmoother:
    """Gives each frame's luma the brightness and contrast of an average over the frames before it.

    Brightness is the median of the luma, and contrast its mean distance from it, so that a hot object that enters
    changes little. Both are averaged over time with weights that fall by e in `seconds`, and the luma is scaled and
    shifted to them: one gain and one offset a frame, the same for all its pixels and colours. A cut begins anew.

    Args:
        seconds: How long the average remembers.

    Raises:
        ValueError: If that is no time.
    """

    def __init__(self, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"--temporal is {seconds}: give seconds above 0, such as 0.5.")
        self.seconds = seconds
        self._level: Tensor | None = None
        self._sketch: Tensor | None = None
        self._time = 0.0

    def __call__(self, fused: Tensor, time: float) -> Tensor:
        """The frame, smoothed.

        Args:
            fused: (3, H, W) in [0, 1].
            time: When it is shown, in seconds; times grow.

        Returns:
            (3, H, W) in [0, 1]; the same frame where brightness and contrast have not changed.
        """
        brightness = luma(fused[None])[0, 0]
        median = brightness.median()
        own = torch.stack((median, (brightness - median).abs().mean()))
        sketch = adaptive_avg_pool2d(brightness[None], _SKETCH).flatten()
        if self._level is None or self._sketch is None or not _same_scene(sketch, self._sketch):
            level = own
        else:
            share = 1 - math.exp((self._time - time) / self.seconds)
            level = self._level + share * (own - self._level)
        self._level, self._sketch, self._time = level, sketch, time
        gain = level[1] / own[1] if own[1] > _FLAT else own.new_ones(())
        change = (gain - 1) * (brightness - median) + (level[0] - median)
        return (fused + change).clamp(0, 1)


def _same_scene(one: Tensor, other: Tensor) -> bool:
    """Whether two small pictures are alike up to brightness and contrast."""
    first, second = one - one.mean(), other - other.mean()
    scale = first.norm() * second.norm()
    return bool(first @ second >= _SAME_SCENE * scale)
