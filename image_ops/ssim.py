"""Structural similarity with a Gaussian window, differentiable: the form that losses use."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.constants import made_once
from ivif.image_ops.padding import pad_planes

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


@made_once(kept=16)
def gaussian_window(size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Samples of a Gaussian that sum to one; made once, not to be changed in place.

    Args:
        size: Number of taps, odd.
        sigma: Standard deviation in pixels, > 0.
        dtype: Of the result, which is computed in double precision and rounded to single on the way.
        device: Where the result shall lie.

    Returns:
        (size,).
    """
    distance = torch.arange(size, dtype=torch.float64, device=device) - (size - 1) / 2
    weights = torch.exp(-distance.square() / (2.0 * sigma**2))
    return (weights / weights.sum()).float().to(dtype)


def gaussian_blur(x: Tensor, size: int = _WINDOW, sigma: float = _SIGMA) -> Tensor:
    """Separable Gaussian filter with mirrored borders; keeps the size, works for planes smaller than the window.

    Args:
        x: (B, C, H, W).
        size: Number of taps, odd.
        sigma: Standard deviation in pixels, > 0.

    Returns:
        (B, C, H, W).
    """
    radius, channels = size // 2, x.shape[1]
    window = gaussian_window(size, sigma, x.dtype, x.device)
    padded = pad_planes(x, (radius, radius, radius, radius), mode="reflect")
    rows = F.conv2d(padded, window.view(1, 1, size, 1).expand(channels, 1, size, 1), groups=channels)
    return F.conv2d(rows, window.view(1, 1, 1, size).expand(channels, 1, 1, size), groups=channels)


def ssim_map(first: Tensor, second: Tensor, data_range: float = 1.0) -> Tensor:
    """The structural similarity index at each pixel (Wang et al. 2004, eq. 13).

    Gaussian window 11x11 with sigma 1.5, K = (0.01, 0.03), mirrored borders so that the map has the images' size.
    Computed in float32 or wider also under autocast: variances are differences of nearly equal numbers.

    Args:
        first: (B, C, H, W).
        second: (B, C, H, W).
        data_range: Largest minus smallest possible value.

    Returns:
        (B, C, H, W), in [-1, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            f"SSIM compares two (B, C, H, W) of one shape, got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    with torch.autocast(first.device.type, enabled=False):
        precise = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
        a, b = first.to(precise), second.to(precise)
        stack = torch.cat((a, b, a * a, b * b, a * b), dim=1)
        mean_a, mean_b, square_a, square_b, product = gaussian_blur(stack).chunk(5, dim=1)
        c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
        mean_product, mean_squares = mean_a * mean_b, mean_a.square() + mean_b.square()
        covariance, variances = product - mean_product, square_a + square_b - mean_squares
        return (2.0 * mean_product + c1) * (2.0 * covariance + c2) / ((mean_squares + c1) * (variances + c2))
