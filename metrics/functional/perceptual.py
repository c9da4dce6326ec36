"""Metrics with a model of human contrast sensitivity: Qcv (Chen and Varshney) and Qcb (Chen and Blum)."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.constants import made_once
from ivif.metrics.functional.filters import gaussian_taps, pad_zero, separable_filter, sobel
from ivif.metrics.functional.triplet import Triplet, triplet_metric

_BLOCK = 16


@triplet_metric()
def qcv(triplet: Triplet, stretch: bool = True, partial_blocks: str = "pad") -> Tensor:
    """Qcv: perceived squared difference to the sources, weighted by their edges in 16x16 blocks; lower is better.

    Source: Chen and Varshney, "A human perception inspired quality metric for image fusion based on regional
    information", 2007, with the Mannos-Sakrison filter, as in the MATLAB function `metricChen`.

    Args:
        triplet: The images.
        stretch: Whether each image is first stretched to 0..255 and rounded, as the MATLAB code does; without it the
            value is 0.26 to 1.02 times as high.
        partial_blocks: The last blocks of a size that 16 does not divide are padded with zeros ("pad") or left out
            ("drop", 0.58 to 2.97 times as high).

    Returns:
        (B,) float64, >= 0; NaN where the sources have no edge or, with `stretch`, an image is constant.

    Raises:
        ValueError: If `partial_blocks` is unknown, or it is "drop" and the image holds no whole block.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(qcv(*formula_triplet("average")).item(), 2)
        432.8
    """
    if partial_blocks not in {"pad", "drop"}:
        raise ValueError(f"Unknown treatment '{partial_blocks}' of partial blocks for Qcv; known: pad, drop.")
    if partial_blocks == "drop" and min(triplet.size) < _BLOCK:
        raise ValueError(f"qcv without partial blocks needs at least {_BLOCK}x{_BLOCK} pixels, got {triplet.size}.")
    planes = triplet.shared("stretched", lambda: stretched(triplet.planes)) if stretch else triplet.planes
    fused, sources = planes[:, :1], planes[:, 1:]
    horizontal, vertical = sobel(sources, "constant")
    squared_strength = horizontal.square() + vertical.square()
    weights = _blocks((squared_strength / 255.0**2).pow(2.5), partial_blocks).sum(dim=(3, 5), dtype=torch.float64)
    sensitivity = _mannos_sakrison(*triplet.size, planes.dtype, planes.device)
    seen = torch.fft.irfft2(torch.fft.rfft2(sources - fused) * sensitivity, s=triplet.size)
    distances = _blocks(seen.square(), partial_blocks).sum(dim=(3, 5), dtype=torch.float64) / _BLOCK**2
    total = weights.sum((1, 2, 3))
    result = (weights * distances).sum((1, 2, 3)) / total
    return torch.where(total > 0, result, torch.full_like(result, torch.nan))


def _blocks(x: Tensor, partial_blocks: str) -> Tensor:
    """(B, C, rows, 16, columns, 16)."""
    height, width = x.shape[-2:]
    if partial_blocks == "drop":
        x = x[..., : height - height % _BLOCK, : width - width % _BLOCK]
    else:
        x = F.pad(x, (0, -width % _BLOCK, 0, -height % _BLOCK))
    rows, columns = x.shape[-2] // _BLOCK, x.shape[-1] // _BLOCK
    return x.reshape(x.shape[0], x.shape[1], rows, _BLOCK, columns, _BLOCK)


def stretched(planes: Tensor) -> Tensor:
    """Each image stretched from its own minimum and maximum to 0..255 and rounded, ties up.

    Args:
        planes: (B, C, H, W).

    Returns:
        The same shape; NaN for a constant image, except for one of zeros, which stays.
    """
    low, high = (bound(planes.detach(), dim=(2, 3), keepdim=True) for bound in (torch.amin, torch.amax))
    values = torch.floor((planes - low) / (high - low) * 255.0 + 0.5)
    return torch.where((low == 0) & (high == 0), planes, values)


@made_once(kept=8)
def _mannos_sakrison(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    radius = _frequency_radius(height, width, height / 4, width / 4, device)
    response: Tensor = 2.6 * (0.0192 + 0.144 * radius) * torch.exp(-((0.144 * radius) ** 1.1))
    return response.to(dtype)


def _frequency_radius(height: int, width: int, down: float, across: float, device: torch.device) -> Tensor:
    rows = torch.fft.fftfreq(height, dtype=torch.float64, device=device).view(-1, 1) * down
    columns = torch.fft.rfftfreq(width, dtype=torch.float64, device=device).view(1, -1) * across
    radius: Tensor = (rows.square() + columns.square()).sqrt()
    return radius


@triplet_metric()
def qcb(triplet: Triplet, variant: str = "standard") -> Tensor:
    """Qcb: preserved local contrast after a contrast sensitivity filter; higher is better.

    Source: Chen and Blum, "A new automated quality assessment algorithm for image fusion", 2009, with the constants of
    the MATLAB function `metricChenBlum`.

    Args:
        triplet: The images.
        variant: "standard" (images stretched to 0..255 and rounded, frequencies on MATLAB's `freqspace` grid), or
            "half_frequency" (`ivif_zoo`: stretched to [0, 1], and `fftfreq` halves every frequency: another filter).

    Returns:
        (B,) float64, in [0, 1]; NaN where an image is constant. Pixels without contrast in both images count as
        preserved (the MATLAB code divides 0 by 0 there).

    Raises:
        ValueError: If the variant is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> round(qcb(*formula_triplet("average"), variant="half_frequency").item(), 4)
        0.5101
    """
    if variant not in {"standard", "half_frequency"}:
        raise ValueError(f"Unknown Qcb variant '{variant}'; known: standard, half_frequency.")
    if variant == "standard":
        planes, grid = triplet.shared("stretched", lambda: stretched(triplet.planes)), 2.0
    else:
        low, high = (bound(triplet.planes, dim=(2, 3), keepdim=True) for bound in (torch.amin, torch.amax))
        planes, grid = (triplet.planes.double() - low) / (high - low), 1.0
    contrast = _masked_contrast(_band_passed(planes, grid))
    fused, sources = contrast[:, :1], contrast[:, 1:]
    weaker, stronger = torch.minimum(fused, sources), torch.maximum(fused, sources)
    preserved = torch.where(stronger > 0, weaker / stronger, torch.ones_like(stronger))
    squared = sources.square()
    share = squared / (squared.sum(dim=1, keepdim=True) + 1e-10)
    result = (share * preserved).sum(dim=1).mean((1, 2), dtype=torch.float64)
    return torch.where(torch.isnan(planes).flatten(1).any(dim=1), torch.full_like(result, torch.nan), result)


def _band_passed(planes: Tensor, grid: float) -> Tensor:
    height, width = planes.shape[-2:]
    response = _difference_of_gaussians(height, width, grid, planes.dtype, planes.device)
    passed: Tensor = torch.fft.irfft2(torch.fft.rfft2(planes) * response, s=(height, width))
    return passed


@made_once(kept=8)
def _difference_of_gaussians(height: int, width: int, grid: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    radius = _frequency_radius(height, width, grid * height / 30, grid * width / 30, device)
    response: Tensor = torch.exp(-((radius / 15.3870) ** 2)) - 0.7622 * torch.exp(-((radius / 1.3456) ** 2))
    return response.to(dtype)


def _masked_contrast(planes: Tensor) -> Tensor:
    padded = pad_zero(planes, 15)
    narrow = separable_filter(padded, gaussian_taps(31, 2.0))
    wide = separable_filter(padded, gaussian_taps(31, 4.0))
    # the reference's windows are not normalised over their 31x31 pixels but by 2 pi sigma^2
    local = (narrow / (wide * _gaussian_mass()) - 1).abs()
    return local**3 / (local.square() + 1e-4)


@cache
def _gaussian_mass() -> float:
    positions = torch.arange(-15, 16, dtype=torch.float64)
    mass = [
        float((torch.exp(-positions.square() / (2 * sigma**2)).sum() ** 2) / (2 * torch.pi * sigma**2))
        for sigma in (2.0, 4.0)
    ]
    return mass[1] / mass[0]
