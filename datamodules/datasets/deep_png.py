"""All 16 bits of a colour PNG, of which PIL hands out eight."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

_PASSES: Final = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}
"""PIL's raw mode of such a file, and those that unpack the high bytes, then the low ones. Grey with alpha is as wide as
8-bit RGBA: one pass shows both bytes."""


def is_deep_color_png(image: Image.Image) -> bool:
    """Whether an image that was just opened is a PNG of 16 bits in more than one channel; its raw mode tells."""
    return isinstance(image, PngImageFile) and any(tile.args in _PASSES for tile in image.tile)


def decode_deep_color(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    """Every value of a 16-bit PNG in several channels; alpha is dropped.

    PIL unpacks one byte of each value; told that the low byte comes first, it unpacks the other one. (torchvision's
    decoder hands out both at once, but a damaged file ends the whole process there.)

    Args:
        image: The file as PIL opened it; `is_deep_color_png` holds.
        data: Its bytes.

    Returns:
        (H, W, 3), or (H, W) for grey with alpha.
    """
    raw = next(str(tile.args) for tile in image.tile if tile.args in _PASSES)  # type: ignore[attr-defined]
    passes: list[NDArray[np.uint16]] = []
    for unpacked in _PASSES[raw]:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
            again.tile = [tile._replace(args=unpacked) for tile in again.tile]
            passes.append(np.asarray(again).astype(np.uint16))
    if len(passes) == 1:
        return _joined(passes[0][..., 0], passes[0][..., 1])
    return _joined(*passes)[..., :3]


def _joined(high: NDArray[np.uint16], low: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return np.bitwise_or(np.left_shift(high, 8, dtype=np.uint16), low)
