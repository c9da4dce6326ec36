"""The structure term: closeness to the fusion result of the previous epoch."""

from typing import NamedTuple

import torch
from torch import Tensor

from ivif.image_ops.sobel import sobel_magnitude
from ivif.image_ops.ssim import ssim_map
from ivif.losses.intensity import at_least_float32


class ComparisonTerms(NamedTuple):
    """Three ways in which two images differ: per pixel (B, C, H, W), per sample (B,), or as scalars.

    Attributes:
        ssim: 1 - SSIM, in [0, 2].
        pixel: Absolute difference.
        gradient: Absolute difference of the Sobel magnitudes |Gx| + |Gy|.
    """

    ssim: Tensor
    pixel: Tensor
    gradient: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum with equal weights, as printed in eq. 8 and 9."""
        return self.ssim + self.pixel + self.gradient

    def per_sample(self) -> "ComparisonTerms":
        """Means over all but the first dimension, (B,) each."""
        return ComparisonTerms(*(term.flatten(1).mean(dim=1) for term in self))

    def means(self) -> "ComparisonTerms":
        """Scalars: means over everything that is left."""
        return ComparisonTerms(*(term.mean() for term in self))


def comparison_maps(image: Tensor, reference: Tensor) -> ComparisonTerms:
    """The three differences at each pixel.

    Args:
        image: (B, C, H, W) in [0, 1].
        reference: (B, C, H, W) in [0, 1].

    Returns:
        Maps (B, C, H, W), float32 or wider.

    Raises:
        ValueError: If the shapes differ.
    """
    image, reference = at_least_float32(image, reference)
    return ComparisonTerms(
        ssim=1.0 - ssim_map(image, reference),
        pixel=(image - reference).abs(),
        gradient=(sobel_magnitude(image) - sobel_magnitude(reference)).abs(),
    )


def structure_loss(fused: Tensor, previous: Tensor) -> ComparisonTerms:
    """L_str = (1 - SSIM(z, z')) + |z - z'|_1 + |S(z) - S(z')|_1 (From Text to Pixels, eq. 8).

    z' is the result for the same pair (and the same crop) one epoch ago, so the term holds the network near itself: its
    minimum is z = z'. No gradient passes through z'.

    Args:
        fused: z (B, C, H, W) in [0, 1].
        previous: z' (B, C, H, W) in [0, 1].

    Returns:
        The three terms per sample, (B,) each, float32 or wider; 0 where both are equal.

    Raises:
        ValueError: If the shapes differ.
    """
    return comparison_maps(fused, previous.detach()).per_sample()


@torch.no_grad()
def fidelity(image: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """How much of both sources an image keeps: mean of SSIM(image, infrared) and SSIM(image, visible), per sample.

    The weights of eq. 10: a1 for the previous result z', a2 for the present z. Without gradient: otherwise the product
    a2 * L_cc would reward a lower SSIM. Clamped, so that no term changes its sign.

    Args:
        image: (B, C, H, W) in [0, 1].
        infrared: (B, C, H, W) in [0, 1].
        visible: (B, C, H, W) in [0, 1].

    Returns:
        (B,), float32 or wider, in [0, 1], without gradient.

    Raises:
        ValueError: If the shapes differ.
    """
    similarity = ssim_map(image, infrared) + ssim_map(image, visible)
    return (similarity.flatten(1).mean(dim=1) / 2.0).clamp(0.0, 1.0)
