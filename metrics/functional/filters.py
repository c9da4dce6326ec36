"""Separable filters written as sums of shifted slices: on a CPU several times faster than `conv2d`."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


@cache
def gaussian_taps(size: int, sigma: float, offset: float | None = None) -> tuple[float, ...]:
    """Normalised one-dimensional Gaussian weights; their outer product is MATLAB's `fspecial('gaussian')`.

    Args:
        size: Number of taps.
        sigma: Standard deviation, in pixels.
        offset: Position of the centre, in taps; the middle by default.

    Returns:
        `size` weights that sum to 1.
    """
    centre = (size - 1) / 2 if offset is None else offset
    positions = torch.arange(size, dtype=torch.float64) - centre
    weights = torch.exp(-positions.square() / (2 * sigma**2))
    return tuple((weights / weights.sum()).tolist())


def weighted_slices(x: Tensor, taps: Sequence[float], dim: int, stride: int = 1, out: Tensor | None = None) -> Tensor:
    """Correlates one axis with `taps`, without padding.

    Args:
        x: Any shape, floating point.
        taps: Weights.
        dim: The axis.
        stride: Keep every n-th position.
        out: Where to write the result, if it needs no gradient.

    Returns:
        The same shape except for `dim`: ceil((n - len(taps) + 1) / stride).
    """
    length = x.shape[dim] - len(taps) + 1

    def part(start: int) -> Tensor:
        piece = x.narrow(dim, start, length)
        return piece if stride == 1 else piece[(slice(None),) * (dim % x.ndim) + (slice(None, None, stride),)]

    result = part(0) * taps[0] if out is None else torch.mul(part(0), taps[0], out=out)
    for start, weight in enumerate(taps[1:], start=1):
        result.add_(part(start), alpha=weight)
    return result


def separable_filter(
    x: Tensor, taps: Sequence[float], stride: int = 1, columns: Sequence[float] | None = None
) -> Tensor:
    """Correlates both image axes with `taps` ('valid': no padding).

    Args:
        x: (..., H, W), floating point.
        taps: Weights along H, and along W unless `columns` is given.
        stride: Keep every n-th row and column, starting with the first.
        columns: Weights along W.

    Returns:
        (..., ceil((H - n + 1) / stride), ceil((W - n + 1) / stride)).
    """
    columns = columns or taps
    if x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad):
        return weighted_slices(weighted_slices(x, taps, -2, stride), columns, -1, stride)
    # one plane at a time stays in the cache: up to twenty times faster than all at once
    planes = x.reshape(-1, *x.shape[-2:])
    height, width = (-(-(side - len(k) + 1) // stride) for side, k in zip(x.shape[-2:], (taps, columns), strict=True))
    between = x.new_empty((height, x.shape[-1]))
    result = x.new_empty((len(planes), height, width))
    for plane, target in zip(planes, result, strict=True):
        weighted_slices(weighted_slices(plane, taps, 0, stride, out=between), columns, 1, stride, out=target)
    return result.view(*x.shape[:-2], height, width)


def pad_zero(x: Tensor, width: int) -> Tensor:
    """Zeros around the image, `width` on every side, so that a 'valid' filter gives the 'same' size."""
    return F.pad(x, (width, width, width, width))


def sobel(x: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Un-normalised Sobel derivatives: right minus left, and below minus above.

    Args:
        x: (B, C, H, W).
        mode: Padding of `torch.nn.functional.pad`: "constant" (zeros), "replicate" or "reflect".

    Returns:
        Two tensors (B, C, H, W).
    """
    padded = F.pad(x, (1, 1, 1, 1), mode=mode)
    above, middle, below = padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]
    smooth = (above + below).add_(middle, alpha=2.0)
    change = below - above
    horizontal = smooth[..., 2:] - smooth[..., :-2]
    vertical = (change[..., :-2] + change[..., 2:]).add_(change[..., 1:-1], alpha=2.0)
    return horizontal, vertical


def safe_sqrt(x: Tensor) -> Tensor:
    """The square root, with gradient 0 instead of infinity where `x` is 0 (flat regions)."""
    if not x.requires_grad:
        return x.sqrt()
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))
