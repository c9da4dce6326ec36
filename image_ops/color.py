"""Luma, chroma and 8-bit rounding: full-range float YCbCr with the BT.601 weights 0.299, 0.587, 0.114."""

import torch
from torch import Tensor

_RED, _BLUE = 0.299, 0.114
_GREEN = 1.0 - _RED - _BLUE
_BLUE_SCALE, _RED_SCALE = 2.0 * (1.0 - _BLUE), 2.0 * (1.0 - _RED)


def luma(rgb: Tensor) -> Tensor:
    """Brightness Y of RGB images.

    Written as a sum of differences to green: the luma of a grey image is that grey value exactly, in any precision.

    Args:
        rgb: (B, 3, H, W), RGB order, any range.

    Returns:
        (B, 1, H, W), the same range.

    Raises:
        ValueError: If `rgb` is not (B, 3, H, W).

    Example:
        >>> luma(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()  # doctest: +ELLIPSIS
        0.298...
    """
    _check_rgb(rgb)
    red, green, blue = rgb.chunk(3, dim=1)
    return green + _RED * (red - green) + _BLUE * (blue - green)


def split_luma_chroma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Splits RGB images into luma and chroma.

    Args:
        rgb: (B, 3, H, W) in [0, 1].

    Returns:
        Luma (B, 1, H, W) in [0, 1] and chroma (B, 2, H, W): Cb and Cr, centred on zero, in [-0.5, 0.5]; exactly zero
        where the image is grey.

    Raises:
        ValueError: If `rgb` is not (B, 3, H, W).
    """
    brightness = luma(rgb)
    blue_chroma = (rgb[:, 2:3] - brightness) / _BLUE_SCALE
    red_chroma = (rgb[:, 0:1] - brightness) / _RED_SCALE
    return brightness, torch.cat((blue_chroma, red_chroma), dim=1)


def recolor(luma: Tensor, chroma: Tensor) -> Tensor:
    """Puts colour back on a (fused) luma: the inverse of `split_luma_chroma`, clamped.

    Args:
        luma: (B, 1, H, W) in [0, 1].
        chroma: (B, 2, H, W): Cb and Cr, centred on zero.

    Returns:
        RGB (B, 3, H, W), clamped to [0, 1]: where it clamps, the luma of the result differs from `luma`.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if luma.ndim != 4 or luma.shape[1] != 1 or chroma.shape != (luma.shape[0], 2, *luma.shape[2:]):
        raise ValueError(
            f"recolor needs luma (B, 1, H, W) and chroma (B, 2, H, W) of one size, got {tuple(luma.shape)} and "
            f"{tuple(chroma.shape)}."
        )
    blue_chroma, red_chroma = chroma.chunk(2, dim=1)
    red = luma + _RED_SCALE * red_chroma
    blue = luma + _BLUE_SCALE * blue_chroma
    green = luma - (_RED * _RED_SCALE * red_chroma + _BLUE * _BLUE_SCALE * blue_chroma) / _GREEN
    return torch.cat((red, green, blue), dim=1).clamp(0.0, 1.0)


def levels_of_8bit(image: Tensor) -> Tensor:
    """The 8-bit levels of an image: round(255 x) after clamping, as integer-valued floats 0..255. Not differentiable.

    Args:
        image: Any shape, nominally in [0, 1].

    Returns:
        The same shape, at least float32, integers 0..255.
    """
    if image.dtype in (torch.float16, torch.bfloat16):
        image = image.float()  # half precision has too few digits for 255 levels times 255
    return (image.clamp(0.0, 1.0) * 255.0).round()


def luma_of_8bit(rgb: Tensor) -> Tensor:
    """The luma of the 8-bit picture that a fused RGB image is saved as: what tables score.

    Both roundings of the way through a file are applied: colours to 8 bits, then their luma to 8 bits. The second is
    exact integer arithmetic with ties up, so that a tensor and its file give the same figures on any device.

    Args:
        rgb: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 1, H, W), integer-valued floats 0..255.

    Raises:
        ValueError: If `rgb` is not (B, 3, H, W).
    """
    _check_rgb(rgb)
    red, green, blue = levels_of_8bit(rgb).chunk(3, dim=1)
    return torch.floor((299.0 * red + 587.0 * green + 114.0 * blue + 500.0) / 1000.0)


def _check_rgb(rgb: Tensor) -> None:
    if rgb.ndim != 4 or rgb.shape[1] != 3:
        raise ValueError(f"An RGB batch (B, 3, H, W) is needed, got shape {tuple(rgb.shape)}.")
