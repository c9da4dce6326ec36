"""The reconstruction terms of an autoencoder."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.sobel import sobel_components
from ivif.losses.intensity import at_least_float32
from ivif.losses.ssim import ssim_loss

_SOBEL_SUM = 8.0


class ReconstructionTerms(NamedTuple):
    """How an image differs from what it shall be; scalars, float32 or wider, 0 where they are equal.

    Attributes:
        ssim: (1 - SSIM) / 2, in [0, 1].
        squared: Mean squared difference, in [0, 1].
        gradient: Mean absolute difference of both Sobel derivatives, operators divided by 8, in [0, 1].
    """

    ssim: Tensor
    squared: Tensor
    gradient: Tensor


def reconstruction_terms(reconstructed: Tensor, image: Tensor) -> ReconstructionTerms:
    """The three differences that phase I of CDDFuse and PromptFusion weights 5 : 1 : 5, in the scale of their code.

    That code takes Kornia's SSIM loss, which is half of 1 - SSIM, and its normalised Sobel derivatives: horizontal and
    vertical, with their signs, as two channels of a mean. Against |Gx| + |Gy| of `ivif.image_ops.sobel` that is a
    sixteenth. The code asks for the gradients of the visible image alone; which images come here is the task's choice.

    Args:
        reconstructed: (B, C, H, W) in [0, 1].
        image: (B, C, H, W) in [0, 1].

    Returns:
        The terms, unweighted.

    Raises:
        ValueError: If the shapes differ.
    """
    ssim = ssim_loss(reconstructed, image) / 2.0
    reconstructed, image = at_least_float32(reconstructed, image)
    drawn, target = (torch.stack(sobel_components(x)) for x in (reconstructed, image))
    return ReconstructionTerms(
        ssim=ssim, squared=F.mse_loss(reconstructed, image), gradient=F.l1_loss(drawn, target) / _SOBEL_SUM
    )
