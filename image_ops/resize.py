"""Resizing whose gradient is the same each time, where a run asks for that."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.constants import made_once

ResizeMode = Literal["bilinear", "bicubic"]


def resize(x: Tensor, size: tuple[int, int], mode: ResizeMode, antialias: bool = True) -> Tensor:
    """Resizes planes.

    PyTorch's antialiased resizing has no deterministic gradient on a GPU: under `--trainer.deterministic true`
    `resize_by_products` takes its place there, equal up to rounding. For the plain one PyTorch has a form of its own.

    Args:
        x: (B, C, H, W), floating point.
        size: (height, width) of the result.
        mode: `bilinear` or `bicubic`.
        antialias: Whether the filter widens where planes get smaller.

    Returns:
        (B, C, *size), the precision of `x`.
    """
    if antialias and _must_repeat(x):
        return resize_by_products(x, size, mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=False, antialias=antialias)


def resize_by_products(x: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
    """Resizes planes with antialiasing by a matrix product along each axis.

    In double precision, in which no setting of a run rounds products.

    Args:
        x: (B, C, H, W), floating point.
        size: (height, width) of the result.
        mode: `bilinear` or `bicubic`.

    Returns:
        (B, C, *size), the precision of `x`: what PyTorch's `interpolate` gives, up to rounding.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    rows = _weights(x.shape[-2], size[0], mode, precise, x.device)
    columns = _weights(x.shape[-1], size[1], mode, precise, x.device)
    with torch.autocast(x.device.type, enabled=False):
        return (rows @ x.double() @ columns.T).to(x.dtype)


def resize_to_any(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes planes to a size that an export does not know yet, of which torch's files have another result.

    Args:
        x: (B, C, H, W), float32.
        size: (height, width) of the result.

    Returns:
        (B, C, *size): what `interpolate` gives, bilinear, with antialiasing where planes get smaller, up to rounding.
    """
    rows, columns = (_bilinear_weights(*pair, x.device) for pair in zip(x.shape[-2:], size, strict=True))
    return rows @ x @ columns.T


def _bilinear_weights(length: int, wanted: int, device: torch.device) -> Tensor:
    """What each pixel of a line gives to each of the resized line, (wanted, length), rounded as PyTorch rounds."""
    scale = torch.full((), length, dtype=torch.float32, device=device) / wanted
    centers = scale * (torch.arange(wanted, dtype=torch.float32, device=device) + 0.5)
    offsets = torch.arange(length, dtype=torch.float32, device=device) - centers[:, None] + 0.5
    weights = (1 - (offsets / scale.clamp(min=1)).abs()).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


def _must_repeat(x: Tensor) -> bool:
    return torch.are_deterministic_algorithms_enabled() and not x.is_cpu


@made_once(kept=16)
def _weights(length: int, wanted: int, mode: ResizeMode, precision: torch.dtype, device: torch.device) -> Tensor:
    """What each pixel of a line gives to each of the resized line, (wanted, length): PyTorch's weights, as rounded."""
    one_each = torch.eye(length, dtype=precision, device="cpu")[None, None]
    resized = F.interpolate(one_each, size=(wanted, length), mode=mode, align_corners=False, antialias=True)
    return resized[0, 0].double().to(device)
