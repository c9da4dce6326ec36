"""Padding to a multiple and back, for planes of any size, also smaller than the padding."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.padding_maps import PadMode, padded


def pad_to_multiple(x: Tensor, multiple: int, mode: PadMode = "replicate") -> tuple[Tensor, tuple[int, int]]:
    """Pads right and bottom so that both sides are multiples of a number.

    Args:
        x: (B, C, H, W), H and W >= 1.
        multiple: What both sides shall be a multiple of, >= 1.
        mode: `replicate` repeats the border; `reflect` mirrors at it, as often as a small plane needs.

    Returns:
        The padded planes and the original (H, W), for `crop_to`. `x` itself if nothing is missing.

    Raises:
        ValueError: If `multiple` < 1 or a plane is empty.
    """
    height, width = x.shape[-2:]
    if multiple < 1 or height < 1 or width < 1:
        raise ValueError(
            f"pad_to_multiple needs multiple >= 1 and planes of at least one pixel, got {multiple}, {tuple(x.shape)}."
        )
    bottom, right = -height % multiple, -width % multiple
    if torch.compiler.is_exporting() or bottom or right:
        x = pad_planes(x, (0, right, 0, bottom), mode)
    return x, (height, width)


def crop_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Cuts the top left (H, W) out of planes: undoes `pad_to_multiple`.

    Args:
        x: (..., H', W').
        size: (H, W), not larger than the planes.

    Returns:
        (..., H, W), a view.

    Raises:
        ValueError: If the planes are smaller than `size`.
    """
    height, width = size
    if x.shape[-2] < height or x.shape[-1] < width:
        raise ValueError(f"Cannot crop planes of {tuple(x.shape[-2:])} to {size}: they are smaller.")
    return x[..., :height, :width]


def pad_planes(x: Tensor, padding: tuple[int, int, int, int], mode: PadMode = "replicate") -> Tensor:
    """Pads planes on their four sides, by any amount.

    Args:
        x: (B, C, H, W), H and W >= 1.
        padding: Pixels (left, right, top, bottom), >= 0.
        mode: `replicate` or `reflect`. PyTorch's own reflection refuses paddings as large as the plane; this one goes
            on mirroring, as NumPy does (a plane of one pixel is repeated).

    Returns:
        (B, C, H + top + bottom, W + left + right), the precision of `x`, also under autocast, and its memory format.
    """
    left, right, top, bottom = padding
    height, width = x.shape[-2:]
    fixed = mode == "replicate" and all(type(side) is int for side in padding)
    if torch.compiler.is_exporting() and not fixed:
        return _gathered(x, padding, mode)
    if mode == "replicate" and torch.compiler.is_compiling():
        return _repeated(_repeated(x, left, right, -1), top, bottom, -2)
    if mode == "replicate" or (max(left, right) < width and max(top, bottom) < height):
        if _beyond_cpu(x):
            return padded(x, padding, mode)
        with torch.autocast(x.device.type, enabled=False):  # which would widen half precision to float32, on a CPU
            return F.pad(x, padding, mode=mode)
    rows = mirrored_places(height, top, bottom, x.device)
    columns = mirrored_places(width, left, right, x.device)
    return x[..., rows, :][..., columns]


def _gathered(x: Tensor, padding: tuple[int, int, int, int], mode: PadMode) -> Tensor:
    """The same by picking pixels: for an export, in which sizes and paddings are not known yet."""
    left, right, top, bottom = padding
    height, width = x.shape[-2:]
    if mode == "reflect":
        rows, columns = (
            mirrored_places(height, top, bottom, x.device),
            mirrored_places(width, left, right, x.device),
        )
    else:
        rows = torch.arange(-top, height + bottom, device=x.device).clamp(0, height - 1)
        columns = torch.arange(-left, width + right, device=x.device).clamp(0, width - 1)
    return x.index_select(-2, rows).index_select(-1, columns)


def _beyond_cpu(x: Tensor) -> bool:
    return not x.is_cpu and not torch.compiler.is_compiling()


def mirrored_places(length: int, before: int, after: int, device: torch.device) -> Tensor:
    """Where the pixels of a mirrored side come from: `before` ahead of it, its own `length`, `after` behind it."""
    period = max(2 * (length - 1), 1)
    places = torch.arange(-before, length + after, device=device)
    phase = places % places.new_full((), period)  # a tensor: ONNX has no remainder by a size that is not known yet
    return torch.where(phase < length, phase, period - phase)


def _repeated(x: Tensor, before: int, after: int, dim: int) -> Tensor:
    """The border repeated along one dimension, in a form that compiles.

    torch 2.15 mistakes the memory format of `replication_pad2d_backward` for channels_last planes, and stops.
    """
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
    return torch.cat([first] * before + [x] + [last] * after, dim)
