"""Pictures as Python has them (files, PIL, NumPy, torch), to planes of a sample and back."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ivif.datamodules.datasets.infrared_color import infrared_plane
from ivif.datamodules.datasets.io import is_colourful, read_image, to_infrared, to_visible
from ivif.datamodules.datasets.palettes import find_palette, intensities
from ivif.datamodules.datasets.thermal import DEFAULT_THERMAL_RANGE, Pixels, ThermalRange
from ivif.image_ops.pictures import to_picture

Picture = str | Path | Image.Image | NDArray[Any] | Tensor
"""A file, a PIL picture, an array (H, W) or (H, W, 1 or 3), or a tensor (H, W) or (1 or 3, H, W).

Numbers are 0..255 (uint8), 0..65535 (uint16), or floats in [0, 1].
"""

_BYTE: Final = 255
_DEEP: Final = 65535

_DEEP_MODES: Final = ("I", "F")


def infrared_of(picture: Picture, thermal_range: ThermalRange = DEFAULT_THERMAL_RANGE) -> Tensor:
    """A picture as a dataset would give its infrared plane: (1, H, W), uint8, or float32 in [0, 1] if it is deeper.

    Args:
        picture: Of one channel, of three equal ones, or in false colours of a known palette.
        thermal_range: How more than 8 bits are scaled.

    Raises:
        UnreadableFileError: If a file cannot be read.
        ValueError: If it is no picture, or in colours of no known palette.
    """
    if isinstance(picture, str | Path):
        path = Path(picture)
        return to_infrared(infrared_plane(path, read_image(path, luma=True))[0], thermal_range)
    pixels = _pixels(picture, "infrared")
    if pixels.dtype == np.uint8 and is_colourful(pixels):
        palette = find_palette(pixels)
        if palette is None:
            raise ValueError("infrared is in colours of no known palette: give one channel, or exchange both pictures.")
        pixels = intensities(pixels, palette)
    return to_infrared(pixels, thermal_range)


def visible_of(picture: Picture) -> Tensor:
    """A picture as a dataset would give its visible one: (3, H, W), uint8, or float32 in [0, 1] if it is deeper.

    Raises:
        UnreadableFileError: If a file cannot be read.
        ValueError: If it is no picture.
    """
    return to_visible(read_image(Path(picture)) if isinstance(picture, str | Path) else _pixels(picture, "visible"))


def like(fused: Tensor, visible: Picture) -> Image.Image | NDArray[Any] | Tensor:
    """A fused picture as what the visible one was: of its type of numbers, on its device, a file as a PIL picture.

    Args:
        fused: (3, H, W) in [0, 1].
        visible: What was given.
    """
    if isinstance(visible, Tensor):
        return _scaled(fused, visible.dtype).to(visible.device)
    if isinstance(visible, np.ndarray):
        numbers = torch.from_numpy(np.empty(0, visible.dtype)).dtype
        return np.ascontiguousarray(_scaled(fused, numbers).permute(1, 2, 0).numpy())
    return to_picture(fused)


def _scaled(fused: Tensor, numbers: torch.dtype) -> Tensor:
    plane = fused.detach().float().clamp(0, 1).cpu()
    return plane.to(numbers) if numbers.is_floating_point else _rounded(plane, numbers)


def _rounded(plane: Tensor, numbers: torch.dtype) -> Tensor:
    most = _BYTE if numbers == torch.uint8 else _DEEP
    return (plane * most).round().to(numbers)


def _pixels(picture: Picture, what: str) -> Pixels:
    """(H, W) or (H, W, 3) of uint8, uint16 or float32."""
    if isinstance(picture, Image.Image):
        if picture.mode.startswith(_DEEP_MODES) or picture.mode == "L":
            return _numbers(np.asarray(picture))
        return np.asarray(picture.convert("L" if picture.mode in ("1", "LA", "La") else "RGB"))
    if isinstance(picture, Tensor):
        array = picture.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(picture, np.ndarray):
        array = picture
    else:
        raise ValueError(f"{what} is a {type(picture).__name__}: give a path, a PIL picture, an array or a tensor.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        order = "(1 or 3, H, W)" if isinstance(picture, Tensor) else "(H, W, 1 or 3)"
        raise ValueError(f"{what} has the shape {tuple(picture.shape)}: give (H, W) or {order}.")
    return _numbers(array)


def _numbers(array: Pixels) -> Pixels:
    """The same of uint8, uint16 or float32, whose ranges are known."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError("a picture holds values that are not finite (NaN or infinity).")
        return array.astype(np.float32)
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:  # PIL's 16 bits
        return array.astype(np.uint16)
    raise ValueError(f"a picture is of {array.dtype}: give uint8, uint16, or floats in [0, 1].")
