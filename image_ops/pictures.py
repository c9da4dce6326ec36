"""Tensors as 8-bit pictures."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from PIL import Image
from torch import Tensor

PNG: Final[Mapping[str, Any]] = {"format": "PNG", "compress_level": 3}
"""How pictures are stored: what Pillow is told."""


def to_picture(image: Tensor) -> Image.Image:
    """A tensor (1 or 3, H, W) in [0, 1] as an 8-bit grey or RGB picture, rounded as the metrics round."""
    array = (image.detach().float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)))
