"""All 16 bits of a colour PNG, of which PIL hands out eight."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from ivif.files.pictures import open_picture

_PASSES: Final = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}
"""PIL's raw mode of such a file, and those that unpack the high bytes, then the low ones. Grey with alpha is as wide as
8-bit RGBA: one pass shows both bytes."""

_STRIP: Final = 1 << 18
"""Pixels that are copied at once out of PIL, so that little stands in memory twice."""


def is_deep_color_png(image: Image.Image) -> bool:
    """Whether an image that was just opened is a PNG of 16 bits in more than one channel; its raw mode tells."""
    return isinstance(image, PngImageFile) and any(tile.args in _PASSES for tile in image.tile)


def decode_deep_color(path: Path, image: Image.Image, data: bytes, max_pixels: int) -> NDArray[np.uint16]:
    """Every value of a 16-bit PNG in several channels; alpha is dropped.

    PIL unpacks one byte of each value; told that the low byte comes first, it unpacks the other one. (torchvision's
    decoder hands out both at once, but a damaged file ends the whole process there.) Beside the result, one pass of
    PIL stands in memory.

    Args:
        path: The file, for errors.
        image: The file as PIL opened it; `is_deep_color_png` holds.
        data: Its bytes.
        max_pixels: Most pixels that it may have.

    Returns:
        (H, W, 3), or (H, W) for grey with alpha.
    """
    raw = next(str(tile.args) for tile in image.tile if tile.args in _PASSES)  # type: ignore[attr-defined]
    passes = _PASSES[raw]
    shape = (image.height, image.width) if len(passes) == 1 else (image.height, image.width, 3)
    values = np.zeros(shape, dtype=np.uint16)
    for number, unpacked in enumerate(passes):
        with open_picture(path, data, max_pixels) as again:
            again.tile = [tile._replace(args=unpacked) for tile in again.tile]  # type: ignore[attr-defined]
            for rows, part in _strips(again):
                if len(passes) == 1:
                    values[rows] = np.left_shift(part[..., 0], 8, dtype=np.uint16) | part[..., 1]
                elif number == 0:
                    np.left_shift(part[..., :3], 8, out=values[rows], dtype=np.uint16)
                else:
                    values[rows] |= part[..., :3]
    return values


def _strips(image: Image.Image) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """The pixels of an image, some rows at a time."""
    height = max(1, _STRIP // image.width)
    for top in range(0, image.height, height):
        bottom = min(top + height, image.height)
        yield slice(top, bottom), np.asarray(image.crop((0, top, image.width, bottom)))
