"""Qy (Yang): similarity with both sources where they agree, with the better preserved one elsewhere."""

import torch
from torch import Tensor

from ivif.metrics.functional.filters import gaussian_taps, pad_zero, separable_filter
from ivif.metrics.functional.triplet import Triplet, triplet_metric

_SIZE, _SIGMA = 7, 1.5
_AGREEMENT = 0.75


@triplet_metric(smallest=7)
def qy(triplet: Triplet, variant: str = "standard") -> Tensor:
    """Qy: local SSIM of the fused image with its sources, weighted by their variances; higher is better.

    Where SSIM(infrared, visible) >= 0.75: w SSIM(infrared, fused) + (1 - w) SSIM(visible, fused), w the infrared share
    of the local variances; elsewhere the larger of the two. Source: Yang et al., "A novel similarity based quality
    metric for image fusion", 2008, with the windows of the MATLAB function `metricYang` (7x7, sigma 1.5, inside the
    image, C1 = C2 = 2e-16). In float64 throughout: with such constants float32 is rounding noise. For the same reason
    variances below 1e-9 count as 0 here (both flat: w = 1/2), where the MATLAB code divides rounding errors by each
    other.

    Args:
        triplet: The images.
        variant: "standard", or "summed_rows" (`ivif_zoo`: zero padding, C1 = 1e-4, C2 = 9e-4, and a window whose seven
            rows are each normalised, so that it sums to 7).

    Returns:
        (B,) float64, at most 1.

    Raises:
        ValueError: If the variant is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(qy(*formula_triplet("average"), variant="summed_rows").item(), 4)
        0.8777
    """
    taps = gaussian_taps(_SIZE, _SIGMA)
    if variant == "standard":
        planes, centre = triplet.planes.double() - 128.0, 128.0
        rows, constants, floor = taps, (2e-16, 2e-16), 1e-9
    elif variant == "summed_rows":
        planes, centre = pad_zero(triplet.planes.double(), _SIZE // 2), 0.0
        rows, constants, floor = (1.0,) * _SIZE, (1e-4, 9e-4), 0.0
    else:
        raise ValueError(f"Unknown Qy variant '{variant}'; known: standard, summed_rows.")
    first, second = [0, 0, 1], [1, 2, 2]
    products = torch.cat((planes, planes.square(), planes[:, first] * planes[:, second]), dim=1)
    local = separable_filter(products, rows, columns=taps)
    mean, variance = local[:, :3], local[:, 3:6] - local[:, :3].square()
    covariance = local[:, 6:] - mean[:, first] * mean[:, second]
    if floor:
        flat = variance < floor
        variance = variance.masked_fill(flat, 0.0)
        covariance = covariance.masked_fill(flat[:, first] | flat[:, second], 0.0)
    mean = mean + centre
    squares = mean.square()
    luminance = _ratio(mean[:, first] * mean[:, second], squares[:, first] + squares[:, second], constants[0])
    structure = _ratio(covariance, variance[:, first] + variance[:, second], constants[1])
    infrared, visible, sources = (luminance * structure).unbind(dim=1)
    return _combine(infrared, visible, sources, variance)


def _ratio(product: Tensor, squares: Tensor, constant: float) -> Tensor:
    return (2 * product + constant) / (squares + constant)


def _combine(infrared: Tensor, visible: Tensor, sources: Tensor, variance: Tensor) -> Tensor:
    total = variance[:, 1] + variance[:, 2]
    share = torch.where(total != 0, variance[:, 1] / (total + 1e-10), torch.full_like(total, 0.5))
    weighted = share * infrared + (1 - share) * visible
    return torch.where(sources >= _AGREEMENT, weighted, torch.maximum(infrared, visible)).mean((1, 2))
