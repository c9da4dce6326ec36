"""Gaussian and Laplacian pyramids (Burt and Adelson 1983), for any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F


def reduce_plane(x: Tensor) -> Tensor:
    """Halves planes: binomial filter (1, 4, 6, 4, 1) / 16 on both axes with replicated borders, every second sample.

    Args:
        x: (B, C, H, W), H and W >= 1.

    Returns:
        (B, C, ceil(H / 2), ceil(W / 2)).
    """
    return _reduce_rows(_reduce_rows(x).transpose(-1, -2)).transpose(-1, -2)


def expand_plane(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Doubles planes: the interpolation that belongs to `reduce_plane` (weights (1, 6, 1) / 8 and (1, 1) / 2).

    Args:
        x: (B, C, h, w).
        size: The wanted (H, W), with ceil(H / 2) = h and ceil(W / 2) = w.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: If `size` does not belong to planes of this size.
    """
    if ((size[0] + 1) // 2, (size[1] + 1) // 2) != tuple(x.shape[-2:]):
        raise ValueError(
            f"Planes of {tuple(x.shape[-2:])} cannot be doubled to {size}: sides must be twice as long, or one less."
        )
    return _expand_rows(_expand_rows(x, size[0]).transpose(-1, -2), size[1]).transpose(-1, -2)


def gaussian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """Repeatedly halved planes.

    Args:
        x: (B, C, H, W).
        levels: Number of halvings, >= 0.

    Returns:
        `levels + 1` planes, the first is `x`.
    """
    planes = [x]
    for _ in range(levels):
        planes.append(reduce_plane(planes[-1]))
    return planes


def laplacian_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """Details of each scale and the base that remains.

    Args:
        x: (B, C, H, W).
        levels: Number of detail planes, >= 0; more than log2 of the longer side adds planes without content.

    Returns:
        `levels` details, fine to coarse, then the base; `collapse` adds them up to `x`.
    """
    planes = gaussian_pyramid(x, levels)
    details = [fine - expand_plane(coarse, (fine.shape[-2], fine.shape[-1])) for fine, coarse in pairwise(planes)]
    return [*details, planes[-1]]


def collapse(pyramid: Sequence[Tensor]) -> Tensor:
    """The inverse of `laplacian_pyramid`.

    Args:
        pyramid: Details, fine to coarse, then the base.

    Returns:
        (B, C, H, W), the size of the finest detail.
    """
    result = pyramid[-1]
    for detail in reversed(pyramid[:-1]):
        result = detail + expand_plane(result, (detail.shape[-2], detail.shape[-1]))
    return result


def _reduce_rows(x: Tensor) -> Tensor:
    padded = F.pad(x, (0, 0, 2, 2), mode="replicate")
    height = x.shape[-2]
    taps = [padded[..., offset : offset + height : 2, :] for offset in range(5)]
    return (taps[0] + taps[4] + 4.0 * (taps[1] + taps[3]) + 6.0 * taps[2]) / 16.0


def _expand_rows(x: Tensor, height: int) -> Tensor:
    padded = F.pad(x, (0, 0, 1, 1), mode="replicate")
    even = (padded[..., :-2, :] + 6.0 * x + padded[..., 2:, :]) / 8.0
    odd = (x + padded[..., 2:, :]) / 2.0
    return torch.stack((even, odd), dim=-2).flatten(-3, -2)[..., :height, :]
