"""What a contourlet transform shows the detail branch: one stack of planes for each of its scales."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.image_ops.contourlet import PAPER_LEVELS, ContourletBands, contourlet, size_multiple
from ivif.image_ops.contourlet_window import Picked, Span, contourlet_part, window_side
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
    return _stacked(contourlet(plane, margin=margin), pairing)


@torch.compiler.disable  # type: ignore[untyped-decorator] # as above
def subband_stacks_of_part(
    plane: Picked,
    size: tuple[int, int],
    part: tuple[Span, Span],
    longest: tuple[int, int],
    pairing: SubbandPairing,
    margin: int,
) -> SubbandStacks:
    """What `subband_stacks` has of a part of a plane that is padded to multiples of 16, to 1e-8 of its range.

    Args:
        plane: Gives pixels of the plane.
        size: (H, W) of the plane, not padded.
        part: Rows and columns of the padded plane, multiples of 16.
        longest: Height and width of the largest part of this plane that there will be: all share one size of window.
        pairing: As above.
        margin: As above.

    Returns:
        The stacks of the part.
    """
    # Resizing subbands looks at one cell beyond, where there is one.
    beyond = size_multiple()
    padded = [-(-length // beyond) * beyond for length in size]
    wider = [(max(0, own[0] - beyond), min(end, own[1] + beyond)) for own, end in zip(part, padded, strict=True)]
    height, width = (window_side(side + 2 * beyond) for side in longest)
    stacks = _stacked(contourlet_part(plane, size, wider[0], wider[1], (height, width), margin), pairing)
    (top, left), (rows, columns) = (
        [own[0] - wide[0] for own, wide in zip(part, wider, strict=True)],
        [own[1] - own[0] for own in part],
    )
    cut = [
        stack[..., top // cell : (top + rows) // cell, left // cell : (left + columns) // cell]
        for stack, cell in zip(stacks, (2, 4, 8, 16), strict=True)
    ]
    return SubbandStacks(*cut)


def _stacked(bands: ContourletBands, pairing: SubbandPairing) -> SubbandStacks:
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
