"""Metrics from means, variances and covariances over the whole image, all in float64."""

import torch
from torch import Tensor

from ivif.metrics.functional.filters import safe_sqrt
from ivif.metrics.functional.triplet import Triplet, fused_metric, triplet_metric

_FUSED, _INFRARED, _VISIBLE = 0, 1, 2
_FLAT = 1e-10
"""A variance below this is that of a constant image: one level of one pixel in a 4K frame still gives 1e-7."""


@fused_metric()
def standard_deviation(triplet: Triplet) -> Tensor:
    """SD: population standard deviation (ddof 0) of the fused image, in grey levels; higher is better.

    Returns:
        (B,) float64, in [0, 127.5].

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> fused, infrared, visible = formula_triplet("average")
        >>> round(standard_deviation(fused).item(), 4)
        30.6718
    """
    return safe_sqrt(triplet.moments.covariance[:, _FUSED, _FUSED])


@triplet_metric()
def correlation_coefficient(triplet: Triplet) -> Tensor:
    """CC: mean of Pearson's r(infrared, fused) and r(visible, fused); higher is better.

    Returns:
        (B,) float64, in [-1, 1]; NaN where one of the images is constant.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(correlation_coefficient(*formula_triplet("average")).item(), 4)
        0.6984
    """
    c = triplet.moments.covariance
    fused = c[:, _FUSED, _FUSED]
    infrared = _pearson(c[:, _INFRARED, _FUSED], c[:, _INFRARED, _INFRARED], fused)
    visible = _pearson(c[:, _VISIBLE, _FUSED], c[:, _VISIBLE, _VISIBLE], fused)
    return (infrared + visible) / 2


@triplet_metric()
def sum_of_correlations_of_differences(triplet: Triplet) -> Tensor:
    """SCD: r(fused - visible, infrared) + r(fused - infrared, visible); higher is better.

    Source: Aslantas and Bendes, "A new image quality metric for image fusion", 2015, eqs. 4-6.

    Returns:
        (B,) float64, in [-2, 2]; NaN where the fused image differs from a source by a constant at most, or where a
        source is constant.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(sum_of_correlations_of_differences(*formula_triplet("average")).item(), 4)
        1.3966
    """
    return _difference_correlation(triplet, _INFRARED, _VISIBLE) + _difference_correlation(triplet, _VISIBLE, _INFRARED)


def _difference_correlation(triplet: Triplet, kept: int, removed: int) -> Tensor:
    c = triplet.moments.covariance
    shared = c[:, kept, _FUSED] - c[:, kept, removed]
    spread = c[:, _FUSED, _FUSED] + c[:, removed, removed] - 2 * c[:, _FUSED, removed]
    return _pearson(shared, c[:, kept, kept], spread)


def _pearson(covariance: Tensor, first: Tensor, second: Tensor) -> Tensor:
    defined = (first > _FLAT) & (second > _FLAT)
    scale = torch.where(defined, first * second, torch.ones_like(first)).sqrt()
    return torch.where(defined, covariance / scale, torch.full_like(scale, torch.nan))


@triplet_metric()
def mean_squared_error(triplet: Triplet, peak: float = 255.0) -> Tensor:
    """MSE: mean of the squared differences to the two sources, (MSE_infrared + MSE_visible) / 2; lower is better.

    Args:
        triplet: The images.
        peak: The value that grey level 255 stands for: 255 (default), or 1 for images in [0, 1] (`ivif_zoo`).

    Returns:
        (B,) float64.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(mean_squared_error(*formula_triplet("average")).item(), 3)
        2256.226
    """
    return (_squared_error(triplet, _INFRARED) + _squared_error(triplet, _VISIBLE)) / 2 * (peak / 255.0) ** 2


def _squared_error(triplet: Triplet, source: int) -> Tensor:
    mean, c = triplet.moments.mean, triplet.moments.covariance
    spread = c[:, _FUSED, _FUSED] + c[:, source, source] - 2 * c[:, _FUSED, source]
    error = spread + (mean[:, _FUSED] - mean[:, source]).square()
    return torch.where(error > _FLAT, error, torch.zeros_like(error))


@triplet_metric()
def peak_signal_to_noise_ratio(triplet: Triplet, variant: str = "standard") -> Tensor:
    """PSNR: 10 log10(peak^2 / MSE) in dB, with the MSE averaged over the two sources; higher is better.

    torchmetrics' PSNR of each source and their mean is another figure: the mean of logarithms.

    Args:
        triplet: The images.
        variant: "standard" (peak 255); "fused_peak" (peak is the fused image's maximum, `cddfuse`); "mixed_range" (MSE
            of images in [0, 1] against peak 255, 48.13 dB more, `ivif_zoo`); "root" (VIFB's code takes the root of the
            sum of squared differences over H W for its MSE).

    Returns:
        (B,) float64; NaN where all three images are equal.

    Raises:
        ValueError: If the variant is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(peak_signal_to_noise_ratio(*formula_triplet("average")).item(), 4)
        14.597
    """
    error = mean_squared_error.of(triplet)
    peak: Tensor | float = 255.0
    if variant == "fused_peak":
        peak = triplet.fused.detach().flatten(1).amax(dim=1).double()
    elif variant == "mixed_range":
        error = mean_squared_error.of(triplet, peak=1.0)
    elif variant == "root":
        pixels = triplet.size[0] * triplet.size[1]
        error = (_squared_error(triplet, _INFRARED).sqrt() + _squared_error(triplet, _VISIBLE).sqrt()) / 2 / pixels**0.5
    elif variant != "standard":
        raise ValueError(f"Unknown PSNR variant '{variant}'; known: standard, fused_peak, mixed_range, root.")
    ratio = peak**2 / error
    return torch.where(error > 0, 10 * torch.log10(ratio), torch.full_like(error, torch.nan))
