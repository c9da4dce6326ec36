"""What a picture is known by, whatever its file is called, wherever it lies and however it is stored without loss."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from ivif.datamodules.datasets.io import read_image
from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.pictures import MAX_PIXELS

_SIDE: Final = 64
"""Rows and columns that are looked at, or up to twice as many: a tenth of a millisecond for a picture of any size."""


def picture_id(pixels: Pixels) -> str:
    """Sixteen hexadecimal digits for decoded pixels; "" for a picture of one value, which is like any other such.

    Hashed are the size and evenly spread pixels, as they are decoded: the same of a PNG as of the BMP that it was made
    of, of grey stored in one channel as in three, and in either modality.

    Args:
        pixels: (H, W) or (H, W, 3), as `read_image` returns them, infrared by its luma.
    """
    height, width = pixels.shape[:2]
    seen = np.ascontiguousarray(pixels[:: max(1, height // _SIDE), :: max(1, width // _SIDE)])
    if seen.ndim == 3 and np.array_equal(seen[..., 0], seen[..., 1]) and np.array_equal(seen[..., 0], seen[..., 2]):
        seen = seen[..., 0]
    if (seen == seen[0, 0]).all():
        return ""
    identity = f"{height}x{width} {seen.dtype.str}".encode() + seen.tobytes()
    return hashlib.blake2b(identity, digest_size=8).hexdigest()


def pair_ids(infrared: Path, visible: Path, max_pixels: int = MAX_PIXELS) -> str:
    """The ids of both files of a pair, one after the other, as the samples of a dataset have them.

    Raises:
        UnreadableFileError: If a file cannot be decoded.
    """
    pictures = read_image(infrared, luma=True, max_pixels=max_pixels), read_image(visible, max_pixels=max_pixels)
    return "".join(map(picture_id, pictures))
