"""Transforms of appearance, not of geometry: colour jitter of the visible image, saliency, and the views CLIP sees."""

from typing import cast

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as geometry

from ivif.contracts.batch import Sample, plane_to_float
from ivif.datamodules.datasets.io import LUMA_WEIGHTS
from ivif.image_ops.color import luma
from ivif.image_ops.saliency import saliency_pair


class VisibleJitter:
    """Changes brightness, contrast and saturation of the visible image, in this order; infrared stays as it is.

    Each factor is drawn uniformly from [1 - strength, 1 + strength]; grey images stay grey.

    Args:
        brightness: Strength; the factor multiplies.
        contrast: Strength; the factor blends with the mean luma.
        saturation: Strength; the factor blends with the luma of each pixel.

    Raises:
        ValueError: If a strength is outside [0, 1].
    """

    def __init__(self, brightness: float, contrast: float, saturation: float) -> None:
        self.strengths = (brightness, contrast, saturation)
        if not all(0.0 <= strength <= 1.0 for strength in self.strengths):
            raise ValueError(f"VisibleJitter's strengths must lie in [0, 1], not {self.strengths}.")

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws three factors."""
        brightness, contrast, saturation = (uniform(1 - value, 1 + value, generator) for value in self.strengths)
        stored = sample["visible"]
        image = stored.to(torch.float32).div(255.0) if stored.dtype == torch.uint8 else stored
        image = (image * brightness).clamp_(0, 1)
        image = image.sub_((1 - contrast) * (image - _luma(image).mean())).clamp_(0, 1)
        image = image.sub_((1 - saturation) * (image - _luma(image))).clamp_(0, 1)
        changed = cast("Sample", dict(sample))
        changed["visible"] = image.mul_(255.0).round_().to(torch.uint8) if stored.dtype == torch.uint8 else image
        return changed


class AddClipViews:
    """Adds `clip_view_infrared` (1, s, s) and `clip_view_visible` (3, s, s): the whole frame, squashed (bicubic).

    Put it before everything random: the views stand for the image, not for its crop, and can be cached by `content_id`.

    Args:
        size: s, the side that the CLIP encoder expects.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws nothing."""
        extended = cast("Sample", dict(sample))
        extended["clip_view_infrared"] = self._squash(sample["infrared"])
        extended["clip_view_visible"] = self._squash(sample["visible"])
        return extended

    def _squash(self, plane: Tensor) -> Tensor:
        square = [self.size, self.size]
        resized = cast("Tensor", geometry.resize(plane, square, InterpolationMode.BICUBIC, antialias=True))
        return resized if plane.dtype == torch.uint8 else resized.clamp(0.0, 1.0)


class AddSaliency:
    """Adds `saliency` (2, H, W), float32 in [0, 1]: how far each pixel is from all others of its own image.

    Infrared first, then the visible luma. Put it before crops and mosaics: a histogram is one of the whole frame.
    """

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draws nothing."""
        extended = cast("Sample", dict(sample))
        visible = plane_to_float(sample["visible"])[None]
        extended["saliency"] = saliency_pair(plane_to_float(sample["infrared"])[None], luma(visible))[0]
        return extended


def uniform(low: float, high: float, generator: Generator) -> float:
    """One draw from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def _luma(image: Tensor) -> Tensor:
    red, green, blue = LUMA_WEIGHTS
    return red * image[0] + green * image[1] + blue * image[2]
