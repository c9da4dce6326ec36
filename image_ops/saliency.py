"""Histogram saliency: how far each grey level is from all others of its image."""

import torch
from torch import Tensor

from ivif.image_ops.constants import made_once
from ivif.image_ops.precision import single_precision

_LEVELS = 256


@torch.no_grad()
def saliency(image: Tensor) -> Tensor:
    """Global-contrast saliency S(k) = mean over all pixels j of |x(k) - x(j)| (Zhai and Shah 2006).

    From Text to Pixels prints it in eq. 9 as a sum over a histogram of 256 grey levels; here the sum is divided by the
    number of pixels and by 255, so that images of any size have comparable values. All 256 values of an image follow
    from its histogram, and each pixel looks up its own: O(HW + 256^2). It is a statistic of the whole frame: compute it
    before cropping.

    Args:
        image: (B, 1, H, W) in [0, 1]; rounded to 8 bits, values outside are clamped.

    Returns:
        (B, 1, H, W), float32, in [0, 1], without gradient; 0 for a constant image.

    Raises:
        ValueError: If `image` is not (B, 1, H, W) or is empty.
    """
    if image.ndim != 4 or image.shape[1] != 1 or not image.numel():
        raise ValueError(f"Saliency is of one plane per image, (B, 1, H, W); got {tuple(image.shape)}.")
    batch = image.shape[0]
    levels = (image.detach().float().clamp(0.0, 1.0) * (_LEVELS - 1)).round().long().flatten(1)
    # Not `bincount`, which makes the processor wait for a GPU.
    counts = levels.new_zeros(batch, _LEVELS).scatter_add_(1, levels, torch.ones_like(levels))
    shares = counts.float() / levels.shape[1]
    with single_precision(image.device):
        table = shares @ _distances(image.device) / (_LEVELS - 1)
    return table.gather(1, levels).view(image.shape)


def saliency_pair(infrared: Tensor, visible_luma: Tensor) -> Tensor:
    """The saliency planes of both sources, as batches carry them.

    Args:
        infrared: (B, 1, H, W) in [0, 1].
        visible_luma: (B, 1, H, W) in [0, 1].

    Returns:
        (B, 2, H, W), float32, in [0, 1]: infrared, visible.

    Raises:
        ValueError: If one is not (B, 1, H, W) or the sizes differ.
    """
    if infrared.shape != visible_luma.shape:
        raise ValueError(
            f"Saliency planes of a pair have one size; got {tuple(infrared.shape)} and {tuple(visible_luma.shape)}."
        )
    return torch.cat((saliency(infrared), saliency(visible_luma)), dim=1)


@made_once(kept=4)
def _distances(device: torch.device) -> Tensor:
    """How far each grey level is from each other one."""
    grey = torch.arange(_LEVELS, dtype=torch.float32, device=device)
    return (grey[:, None] - grey[None, :]).abs()
