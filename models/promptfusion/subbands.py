"""What a contourlet transform shows the detail branch: one stack of planes for each of its scales."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.contourlet import PAPER_LEVELS, contourlet
from ivif.models.promptfusion.config import SubbandPairing

LOWPASS_PLANES: Final = 4
"""Planes of the low-pass at 1/16, the four pixels of each 2x2 square."""

_LOWPASS_GAIN = 2.0 ** (len(PAPER_LEVELS) - 1)


class SubbandStacks(NamedTuple):
    """Subbands of a plane (B, 1, H, W) on the grids of a network that halves three times; n is 8 or 4 planes.

    Attributes:
        half: (B, n, H/2, W/2).
        quarter: (B, n, H/4, W/4).
        eighth: (B, n, H/8, W/8).
        sixteenth: The low-pass, (B, 4, H/16, W/16), as bright as the plane.
    """

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor


def directional_planes(pairing: SubbandPairing) -> int:
    """The number of planes of each directional stack: 8 if the subbands are resized, 4 if spliced."""
    wedges = 2 ** PAPER_LEVELS[-1]
    return wedges if pairing == "resize" else wedges // 2


@torch.compiler.disable  # type: ignore[untyped-decorator] # its filters are kept; a compiler would make them each time
def subband_stacks(plane: Tensor, pairing: SubbandPairing = "resize", margin: int = 0) -> SubbandStacks:
    """Transforms a plane and brings the subbands of each scale to one size; differentiable.

    Args:
        plane: (B, 1, H, W), H and W multiples of 16, any range.
        pairing: See `PromptFusionConfig.pairing`.
        margin: Mirrored border of the transform, a multiple of 16.

    Returns:
        The stacks, float32 or wider, also under autocast.
    """
    bands = contourlet(plane, margin=margin)
    eighth, quarter, half = (
        _paired(upright.flatten(1, 2), level.flatten(1, 2), pairing) for upright, level in bands.directional
    )
    lowpass = F.pixel_unshuffle(bands.lowpass / _LOWPASS_GAIN, 2)
    return SubbandStacks(half, quarter, eighth, lowpass)


def _paired(upright: Tensor, level: Tensor, pairing: SubbandPairing) -> Tensor:
    """(B, 4, h/4, w/2) and (B, 4, h/2, w/4) as (B, 8 or 4, h/2, w/2)."""
    size = level.shape[-2], upright.shape[-1]
    if pairing == "resize":
        return torch.cat([F.interpolate(stack, size=size, mode="bilinear") for stack in (upright, level)], dim=1)
    rows = torch.stack((upright[:, 0::2], upright[:, 1::2]), dim=3)
    columns = torch.stack((level[:, 0::2], level[:, 1::2]), dim=4)
    return torch.cat((rows.flatten(2, 3), columns.flatten(3, 4)), dim=1)
