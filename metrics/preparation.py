"""From images in [0, 1], grey or colour, to the grey levels that metrics are computed on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ivif.image_ops.color import levels_of_8bit, luma, luma_of_8bit


@dataclass(frozen=True)
class GreyLevels:
    """Images that are prepared already: sources that several fused images are scored against.

    Args:
        levels: (B, 1, H, W), 0..255, made by `grey_levels`.
    """

    levels: Tensor

    def __len__(self) -> int:
        return len(self.levels)


def grey_levels(image: Tensor | GreyLevels, eight_bit: bool = True) -> Tensor:
    """The luma of images in grey levels.

    Args:
        image: (B, 1 or 3, H, W) in [0, 1]; half precision is promoted. `GreyLevels` stay as they are.
        eight_bit: Whether to score the 8-bit file that the image would be saved as: `round(255 x)`, then the rounded
            luma.

    Returns:
        (B, 1, H, W), 0..255, integers if `eight_bit`.

    Raises:
        ValueError: If the shape is another one, or the image is not floating point.
    """
    if isinstance(image, GreyLevels):
        return image.levels
    if image.ndim != 4 or image.shape[1] not in {1, 3}:
        raise ValueError(f"Images must be (B, 1 or 3, H, W), got shape {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise ValueError(f"Images must be floating point in [0, 1], got {image.dtype}: divide 8-bit images by 255.")
    colour = image.shape[1] == 3
    if eight_bit:
        return luma_of_8bit(image) if colour else levels_of_8bit(image)
    image = image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
    return (luma(image) if colour else image) * 255.0
