"""Fusion without learning: the baselines that every table is read against."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from ivif.image_ops.contourlet import ContourletBands, contourlet, inverse_contourlet, size_multiple
from ivif.image_ops.padding import crop_to, pad_planes
from ivif.image_ops.pyramid import collapse, expand_plane, gaussian_pyramid, laplacian_pyramid
from ivif.image_ops.saliency import saliency_pair

_MARGIN = 32
"""Mirrored pixels around an image, which keep one border out of the transform of the opposite one."""

_LEAST_SALIENCY = 1e-3
"""Added to both saliencies: two empty sources weigh the same."""


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


def contourlet_fusion(infrared: Tensor, visible_luma: Tensor, decimate: bool = False) -> Tensor:
    """Contourlet fusion: the low-pass by saliency, of every direction and scale the stronger coefficients.

    The low-passes are weighted by the global-contrast saliency of their images, smoothed to the same scale. A
    directional coefficient is stronger where the sum of magnitudes in its 3x3 neighbourhood is; a choice that most
    neighbours contradict is turned over, as Li, Manjunath and Mitra (1995) do for wavelets.

    Args:
        infrared: (B, 1, H, W) in [0, 1], H and W >= 1.
        visible_luma: (B, 1, H, W) in [0, 1].
        decimate: Whether to take the sampled transform. It is several times as fast, but where
            neighbouring coefficients come from different sources, aliases no longer cancel: edges ring.

    Returns:
        (B, 1, H, W), clamped to [0, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    _check_pair(infrared, visible_luma)
    height, width = infrared.shape[-2:]
    sources = _with_margin(torch.cat((infrared, visible_luma), dim=1))
    salient = _with_margin(saliency_pair(infrared, visible_luma))
    bands = contourlet(sources, decimate=decimate)
    weights = _smoothed(salient, len(bands.directional), decimate) + _LEAST_SALIENCY
    lowpass = (weights * bands.lowpass).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    directional = tuple((_stronger(first), _stronger(second)) for first, second in bands.directional)
    fused = inverse_contourlet(ContourletBands(lowpass, directional, decimate))
    return crop_to(fused[..., _MARGIN:, _MARGIN:], (height, width)).clamp(0.0, 1.0)


CLASSIC_FUSIONS: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "average": average_fusion,
    "maximum": maximum_fusion,
    "laplacian_pyramid": laplacian_pyramid_fusion,
    "contourlet": contourlet_fusion,
}
"""Every baseline by the name that tables give it: (infrared, visible luma) -> fused luma."""


def _check_pair(infrared: Tensor, visible_luma: Tensor) -> None:
    if infrared.shape != visible_luma.shape or infrared.ndim != 4:
        raise ValueError(
            f"Classic fusion needs infrared and visible luma (B, 1, H, W) of one size, got {tuple(infrared.shape)} and "
            f"{tuple(visible_luma.shape)}."
        )


def _with_margin(planes: Tensor) -> Tensor:
    """Mirrors the image on all sides, up to a size that is transformed without padding."""
    bottom, right = (-length % size_multiple() for length in planes.shape[-2:])
    return pad_planes(planes, (_MARGIN, _MARGIN + right, _MARGIN, _MARGIN + bottom), mode="reflect")


def _smoothed(planes: Tensor, scales: int, decimate: bool) -> Tensor:
    """Planes at the scale of a low-pass, and, unless decimated, as large as before."""
    pyramid = gaussian_pyramid(planes, scales)
    smooth = pyramid[-1]
    for finer in reversed([] if decimate else pyramid[:-1]):
        smooth = expand_plane(smooth, (finer.shape[-2], finer.shape[-1]))
    return smooth


def _stronger(stack: Tensor) -> Tensor:
    """Of the subbands (B, 2, n, h, w) of both sources the locally stronger coefficients: (B, 1, n, h, w)."""
    activity = _neighbourhood_sum(stack.abs())
    chosen = _neighbourhood_sum((activity[:, :1] > activity[:, 1:]).to(stack.dtype)) > 4.5  # of nine
    return torch.where(chosen, stack[:, :1], stack[:, 1:])


def _neighbourhood_sum(stack: Tensor) -> Tensor:
    """Sums over 3x3 places with mirrored borders; on a CPU several times as fast as pooling."""
    padded = pad_planes(stack.flatten(0, 1), (1, 1, 1, 1), mode="reflect")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).view(stack.shape)
