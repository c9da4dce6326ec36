"""Structural similarity term."""

from torch import Tensor

from ivif.image_ops.ssim import ssim_map


def ssim_loss(fused: Tensor, reference: Tensor) -> Tensor:
    """1 - SSIM, a mean over batch, channels and pixels (window 11x11, sigma 1.5, data range 1).

    Kornia's loss of the same name is (1 - SSIM) / 2: a weight taken from code that uses it has to be halved.

    Args:
        fused: (B, C, H, W) in [0, 1].
        reference: (B, C, H, W) in [0, 1].

    Returns:
        A scalar, float32 or wider, in [0, 2]; 0 where both are equal.

    Raises:
        ValueError: If the shapes differ.
    """
    return 1.0 - ssim_map(fused, reference).mean()
