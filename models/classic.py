"""Fusion without learning: the baselines that every table is read against."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from image_ops.pyramid import collapse, laplacian_pyramid


def average_fusion(infrared: Tensor, visible_luma: Tensor) -> Tensor:
    """The mean of both sources.

    Args:
        infrared: (B, 1, H, W) in [0, 1].
        visible_luma: (B, 1, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    _check_pair(infrared, visible_luma)
    return (infrared + visible_luma) / 2.0


def maximum_fusion(infrared: Tensor, visible_luma: Tensor) -> Tensor:
    """The brighter source at each pixel.

    Args:
        infrared: (B, 1, H, W) in [0, 1].
        visible_luma: (B, 1, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    _check_pair(infrared, visible_luma)
    return torch.maximum(infrared, visible_luma)


def laplacian_pyramid_fusion(infrared: Tensor, visible_luma: Tensor, levels: int = 4) -> Tensor:
    """Laplacian pyramid fusion: the stronger detail at each place of each scale, the mean of both bases.

    Args:
        infrared: (B, 1, H, W) in [0, 1], H and W >= 1.
        visible_luma: (B, 1, H, W) in [0, 1].
        levels: Number of detail scales, above the base.

    Returns:
        (B, 1, H, W), clamped to [0, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    _check_pair(infrared, visible_luma)
    *infrared_details, infrared_base = laplacian_pyramid(infrared, levels)
    *visible_details, visible_base = laplacian_pyramid(visible_luma, levels)
    details = [
        torch.where(thermal.abs() > optical.abs(), thermal, optical)
        for thermal, optical in zip(infrared_details, visible_details, strict=True)
    ]
    return collapse([*details, (infrared_base + visible_base) / 2.0]).clamp(0.0, 1.0)


CLASSIC_FUSIONS: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "average": average_fusion,
    "maximum": maximum_fusion,
    "laplacian_pyramid": laplacian_pyramid_fusion,
}
"""Every baseline by the name that tables give it: (infrared, visible luma) -> fused luma."""


def _check_pair(infrared: Tensor, visible_luma: Tensor) -> None:
    if infrared.shape != visible_luma.shape or infrared.ndim != 4:
        raise ValueError(
            f"Classic fusion needs infrared and visible luma (B, 1, H, W) of one size, got {tuple(infrared.shape)} and "
            f"{tuple(visible_luma.shape)}."
        )
