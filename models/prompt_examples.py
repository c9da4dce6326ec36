"""Examples that prompts are learnt from: fusions made without learning as good ones, and what is worse than them.

Fusion has no ground truth. Random numbers are drawn on the CPU, so that one generator gives the same examples on any
device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ivif.image_ops.padding import pad_planes
from ivif.models.classic import average_fusion, contourlet_fusion

NEGATIVE_KINDS: Final = ("infrared", "visible", "average", "blurred", "low_contrast", "noisy")
"""Both sources, their plain average, and three degradations of a positive."""


@dataclass(frozen=True)
class DegradationConfig:
    """How strong the degradations are: each is drawn uniformly between two bounds.

    Args:
        blur: Standard deviation of the Gaussian blur in pixels.
        contrast: Factor on the distance from the image's mean.
        noise: Standard deviation of the Gaussian noise in units of the image, [0, 1].

    Raises:
        ValueError: If a pair is not ascending or not positive.
    """

    blur: tuple[float, float] = (1.0, 3.0)
    contrast: tuple[float, float] = (0.3, 0.7)
    noise: tuple[float, float] = (5 / 255, 25 / 255)

    def __post_init__(self) -> None:
        for name in ("blur", "contrast", "noise"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ValueError(f"{name} is drawn between two ascending positive bounds, not {low} and {high}.")


def positive_examples(infrared: Tensor, visible_luma: Tensor) -> Tensor:
    """Good fusions without learning: contourlet fusion (`ivif.models.classic`), shift-invariant.

    Args:
        infrared: (B, 1, H, W) in [0, 1].
        visible_luma: (B, 1, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) in [0, 1], without gradient.

    Raises:
        ValueError: If the shapes differ.
    """
    with torch.no_grad():
        return contourlet_fusion(infrared, visible_luma)


@torch.no_grad()
def negative_examples(
    infrared: Tensor,
    visible_luma: Tensor,
    positives: Tensor,
    generator: Generator,
    kinds: Sequence[str] = NEGATIVE_KINDS,
    config: DegradationConfig = DegradationConfig(),
) -> Tensor:
    """One worse image for each positive, of a kind drawn at random.

    Args:
        infrared: (B, 1, H, W) in [0, 1].
        visible_luma: (B, 1, H, W) in [0, 1].
        positives: (B, 1, H, W) in [0, 1] from `positive_examples`.
        generator: Of the CPU; decides everything.
        kinds: Which kinds to draw from; one alone gives only that.
        config: How strong the degradations are.

    Returns:
        (B, 1, H, W) in [0, 1], without gradient.

    Raises:
        ValueError: If `kinds` is empty or holds an unknown one.
    """
    unknown = [kind for kind in kinds if kind not in NEGATIVE_KINDS]
    if unknown or not kinds:
        raise ValueError(f"Negative kinds are {list(kinds)}; give one or more of {', '.join(NEGATIVE_KINDS)}.")
    makers: dict[str, Callable[[], Tensor]] = {
        "infrared": lambda: infrared,
        "visible": lambda: visible_luma,
        "average": lambda: average_fusion(infrared, visible_luma),
        "blurred": lambda: blurred(positives, _drawn(config.blur, positives, generator)),
        "low_contrast": lambda: low_contrast(positives, _drawn(config.contrast, positives, generator)),
        "noisy": lambda: noisy(positives, _drawn(config.noise, positives, generator), generator),
    }
    choice = torch.randint(len(kinds), (len(positives),), generator=generator)
    negatives = positives.clone()
    for index, kind in enumerate(kinds):
        chosen = choice == index
        if bool(chosen.any()):
            chosen = chosen.to(positives.device)
            negatives[chosen] = makers[kind]()[chosen]
    return negatives


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with replicated borders, a standard deviation for each image.

    Args:
        images: (B, C, H, W).
        sigma: (B,) in pixels, positive; cut off at three of the largest.

    Returns:
        (B, C, H, W) in the range of `images`.
    """
    radius = ceil(3 * float(sigma.max()))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernels = torch.softmax(-offsets.square() / (2 * sigma.to(images)[:, None].square()), dim=-1)
    kernels = kernels.repeat_interleave(images.shape[1], dim=0)
    planes = pad_planes(images.flatten(0, 1)[None], (radius, radius, radius, radius))
    planes = F.conv2d(planes, kernels[:, None, None, :], groups=len(kernels))
    return F.conv2d(planes, kernels[:, None, :, None], groups=len(kernels)).view(images.shape)


def low_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Moves each image towards its own mean.

    Args:
        images: (B, C, H, W).
        factor: (B,) in [0, 1]: 1 changes nothing, 0 leaves the mean.

    Returns:
        (B, C, H, W) in the range of `images`.
    """
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + factor.to(images).view(-1, 1, 1, 1) * (images - mean)


def noisy(images: Tensor, sigma: Tensor, generator: Generator) -> Tensor:
    """Adds Gaussian noise, a standard deviation for each image, and clamps.

    Args:
        images: (B, C, H, W) in [0, 1].
        sigma: (B,) in units of the image.
        generator: Of the CPU.

    Returns:
        (B, C, H, W) in [0, 1].
    """
    noise = torch.randn(images.shape, generator=generator).to(images)
    return (images + sigma.to(images).view(-1, 1, 1, 1) * noise).clamp(0.0, 1.0)


def _drawn(bounds: tuple[float, float], images: Tensor, generator: Generator) -> Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand(len(images), generator=generator)
