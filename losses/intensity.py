"""Pixel intensity terms."""

import torch
from torch import Tensor
from torch.nn import functional as F


def intensity_max_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Mean absolute difference between the fused image and the brighter of both sources (MGFusion, eq. 8).

    l_i = |I_f - max(I_i, I_v)|_1, a mean over batch, channels and pixels.

    Args:
        fused: (B, C, H, W) in [0, 1], C = 1 (luma) or 3 (RGB).
        infrared: (B, 1 or C, H, W) in [0, 1]; one channel is compared with each of C.
        visible: (B, C, H, W) in [0, 1]; the luma where `fused` is a luma.

    Returns:
        A scalar, float32 or wider, >= 0; 0 where fused = max(infrared, visible).

    Raises:
        ValueError: If the shapes do not fit.
    """
    check_triplet(fused, infrared, visible)
    fused, infrared, visible = at_least_float32(fused, infrared, visible)
    return F.l1_loss(fused, torch.maximum(infrared, visible))


def check_triplet(fused: Tensor, infrared: Tensor, visible: Tensor) -> None:
    """Checks that a fused image and its two sources have shapes that a loss may compare.

    Args:
        fused: (B, C, H, W).
        infrared: (B, 1 or C, H, W).
        visible: (B, C, H, W).

    Raises:
        ValueError: If they do not fit: names the three shapes and the usual cause.
    """
    fits = (
        fused.ndim == 4
        and visible.shape == fused.shape
        and infrared.ndim == 4
        and infrared.shape[1] in (1, fused.shape[1])
        and infrared.shape[0] == fused.shape[0]
        and infrared.shape[2:] == fused.shape[2:]
    )
    if not fits:
        raise ValueError(
            "A loss compares fused (B, C, H, W) with visible of the same shape and infrared (B, 1 or C, H, W); got "
            f"fused {tuple(fused.shape)}, infrared {tuple(infrared.shape)}, visible {tuple(visible.shape)}. "
            "Fusion in luma needs the visible image's luma (ivif.image_ops.color.luma)."
        )


def at_least_float32(*images: Tensor) -> tuple[Tensor, ...]:
    """The images in float32 if they are in half precision: means over many pixels need the digits."""
    return tuple(image.float() if image.dtype in (torch.float16, torch.bfloat16) else image for image in images)
