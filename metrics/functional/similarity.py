"""Structural similarity of the fused image with both sources: SSIM in its variants, and MS-SSIM."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.constants import constant
from ivif.metrics.functional.filters import gaussian_taps, separable_filter
from ivif.metrics.functional.triplet import Triplet, triplet_metric

_K1, _K2 = 0.01, 0.03
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_CENTRE = 128.0
_BOX = 7


@triplet_metric(smallest=11)
def ssim(
    triplet: Triplet,
    window: str = "gaussian",
    data_range: float = 255.0,
    reduction: str = "sum",
    border: str = "valid",
) -> Tensor:
    """SSIM(infrared, fused) + SSIM(visible, fused); higher is better. Differentiable.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004. torchmetrics'
    SSIM averages the map over a reflected border as well and so gives another figure (its inner part is equal).

    Args:
        triplet: The images.
        window: "gaussian" (11x11, sigma 1.5), or "uniform" (7x7 with sample covariance, scikit-image's default,
            `cddfuse`).
        data_range: The range L in C1 = (0.01 L)^2, C2 = (0.03 L)^2. 255 for grey levels; `cddfuse` has 2, which old
            scikit-image assumed for floats, and `ivif_zoo` effectively 1: both make every ripple of noise count.
        reduction: "sum" of the two sources or their "mean".
        border: "valid" (only whole windows count), or "replicate" (edges repeated, so that the map has
            the image's size; MATLAB's `imfilter(..., 'replicate')`).

    Returns:
        (B,) float64, a sum in [-2, 2] or a mean in [-1, 1].

    Raises:
        ValueError: If an option is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(ssim(*formula_triplet("average")).item(), 4)
        1.1362
    """
    if (window, border) not in {("gaussian", "valid"), ("gaussian", "replicate"), ("uniform", "valid")}:
        raise ValueError(
            f"Unknown SSIM window '{window}' with border '{border}'; known: gaussian, uniform (valid only)."
        )
    if reduction not in {"sum", "mean"}:
        raise ValueError(f"Unknown reduction '{reduction}' for SSIM; known: sum, mean.")
    if window == "uniform":
        statistics = triplet.shared("uniform_statistics", lambda: _uniform_statistics(triplet))
    else:
        key = ("gaussian_statistics", border)
        statistics = triplet.shared(key, lambda: _gaussian_statistics(_bordered(triplet.planes, border)))
    values = _similarity(statistics, data_range)[0]
    return values.sum(dim=1) if reduction == "sum" else values.mean(dim=1)


@triplet_metric(smallest=176)
def ms_ssim(triplet: Triplet, data_range: float = 255.0, reduction: str = "sum", odd_sizes: str = "drop") -> Tensor:
    """MS-SSIM(infrared, fused) + MS-SSIM(visible, fused) over five scales; higher is better. Differentiable.

    Source: Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", 2003; weights
    0.0448 0.2856 0.3001 0.2363 0.1333, Gaussian 11x11 windows inside the image, 2x2 means between scales, contrast
    terms clamped at 0. torchmetrics' MS-SSIM uses reflected borders at the last scale.

    Args:
        triplet: The images.
        data_range: As for SSIM; `ivif_zoo` has effectively 1.
        reduction: "sum" of the two sources or their "mean".
        odd_sizes: Between scales an odd row or column is left out ("drop"), or a zero is added on both sides of that
            axis ("pad_zero", pytorch-msssim and `ivif_zoo`).

    Returns:
        (B,) float64, a sum in [0, 2] or a mean in [0, 1].

    Raises:
        ValueError: If an option is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(ms_ssim(*formula_triplet("visible"), data_range=1.0).item(), 4)
        1.0
    """
    if reduction not in {"sum", "mean"} or odd_sizes not in {"drop", "pad_zero"}:
        raise ValueError(f"Unknown MS-SSIM option among reduction={reduction}, odd_sizes={odd_sizes}.")
    planes = triplet.planes
    terms = []
    for scale in range(len(_SCALE_WEIGHTS)):
        if scale:
            padding = [side % 2 if odd_sizes == "pad_zero" else 0 for side in planes.shape[-2:]]
            planes = F.avg_pool2d(planes, kernel_size=2, padding=padding)
        whole, contrast = _similarity(_gaussian_statistics(planes), data_range)
        terms.append(whole if scale == len(_SCALE_WEIGHTS) - 1 else contrast)
    weights = constant(_SCALE_WEIGHTS, torch.float64, planes.device).view(-1, 1, 1)
    values = (torch.stack(terms).clamp(min=0) ** weights).prod(dim=0)
    return values.sum(dim=1) if reduction == "sum" else values.mean(dim=1)


Statistics = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Local means of fused (B, 1, h, w) and sources (B, 2, h, w), their variances, and the covariances (B, 2, h, w)."""


def _bordered(planes: Tensor, border: str) -> Tensor:
    return planes if border == "valid" else F.pad(planes, (5, 5, 5, 5), mode="replicate")


def _gaussian_statistics(planes: Tensor) -> Statistics:
    # variances do not change when a constant is subtracted, and lose far fewer digits
    values = planes - _CENTRE
    taps = gaussian_taps(11, 1.5)
    means = separable_filter(values, taps)
    variances = separable_filter(values.square(), taps).sub_(means.square())
    covariances = separable_filter(values[:, 1:] * values[:, :1], taps).sub_(means[:, 1:] * means[:, :1])
    means = means + _CENTRE
    return means[:, :1], means[:, 1:], variances[:, :1], variances[:, 1:], covariances


def _uniform_statistics(triplet: Triplet) -> Statistics:
    count = _BOX**2
    # sums of 49 squares stay below 2^31: integer arithmetic is exact where a data range of 2 would amplify rounding
    planes = triplet.planes.to(torch.int32) if triplet.integral else triplet.planes.double()
    products = torch.cat((planes, planes * planes, planes[:, 1:] * planes[:, :1]), dim=1)
    sums = _box_sums(products)
    first = sums[:, :3]
    dtype = torch.float32 if triplet.integral else torch.float64
    scale = 1.0 / (count * (count - 1))
    variances = (count * sums[:, 3:6] - first * first).to(dtype) * scale
    covariances = (count * sums[:, 6:] - first[:, 1:] * first[:, :1]).to(dtype) * scale
    means = first.to(dtype) / count
    return means[:, :1], means[:, 1:], variances[:, :1], variances[:, 1:], covariances


def _box_sums(x: Tensor) -> Tensor:
    for dim in (-2, -1):
        length = x.shape[dim] - _BOX + 1
        total = x.narrow(dim, 0, length).clone()
        for start in range(1, _BOX):
            total += x.narrow(dim, start, length)
        x = total
    return x


def _similarity(statistics: Statistics, data_range: float) -> tuple[Tensor, Tensor]:
    """Mean similarity and mean contrast-structure term of both sources, each (B, 2) float64."""
    fused_mean, source_mean, fused_variance, source_variance, covariance = statistics
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    contrast = (2 * covariance + c2) / (source_variance + fused_variance + c2)
    luminance = (2 * source_mean * fused_mean + c1) / (source_mean.square() + fused_mean.square() + c1)
    dims = (2, 3)
    return (luminance * contrast).mean(dims, dtype=torch.float64), contrast.mean(dims, dtype=torch.float64)
