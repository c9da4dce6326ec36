"""Sobel gradient magnitude, as every loss and guidance of the suite uses it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.constants import constant
from ivif.image_ops.padding import pad_planes

_KERNEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def sobel_components(x: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical Sobel derivatives with the un-normalised kernel [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]].

    Borders are replicated: zero padding, as in released fusion codes, would draw a false edge around every image. The
    derivatives have the precision of `x`, also under autocast.

    Args:
        x: (B, C, H, W), H and W >= 1; each channel on its own.

    Returns:
        Gx and Gy, each (B, C, H, W), in [-4, 4] for images in [0, 1].
    """
    padded = pad_planes(x, (1, 1, 1, 1))
    if x.shape[1] == 1:
        return _components_by_shifts(padded)
    weights = constant(_KERNEL, x.dtype, x.device).expand(x.shape[1], 1, 3, 3)
    with torch.autocast(x.device.type, enabled=False):
        horizontal = F.conv2d(padded, weights, groups=x.shape[1])
        vertical = F.conv2d(padded, weights.transpose(-1, -2), groups=x.shape[1])
    return horizontal, vertical


def sobel_magnitude(x: Tensor) -> Tensor:
    """The gradient magnitude |Gx| + |Gy|, un-normalised: in [0, 8] for images in [0, 1].

    The scale matters for the weight of a gradient loss: a Sobel divided by 8 needs another weight (see
    `ivif.losses.gradient.gradient_max_loss`).

    Args:
        x: (B, C, H, W), H and W >= 1; each channel on its own.

    Returns:
        (B, C, H, W), the precision of `x`.
    """
    horizontal, vertical = sobel_components(x)
    return horizontal.abs() + vertical.abs()


def _components_by_shifts(padded: Tensor) -> tuple[Tensor, Tensor]:
    # For one channel several times faster than a convolution on a CPU; for many channels several times slower.
    above, middle, below = padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]
    smooth_rows = above + 2.0 * middle + below
    change_rows = below - above
    horizontal = smooth_rows[..., 2:] - smooth_rows[..., :-2]
    vertical = change_rows[..., :-2] + 2.0 * change_rows[..., 1:-1] + change_rows[..., 2:]
    return horizontal, vertical
