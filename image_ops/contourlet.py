"""The contourlet transform (Do and Vetterli, IEEE Transactions on Image Processing 14(12), 2005), differentiable.

A Laplacian pyramid splits images into scales, a directional filter bank splits each scale into wedges of directions.
Everything happens in the frequency domain: one Fourier transform of the image, small inverse ones of the subbands.
Filters are made once for each size, see `ivif.image_ops.contourlet_filters`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from ivif.image_ops.contourlet_convolution import split_by_convolution
from ivif.image_ops.contourlet_filters import wedge_lattice
from ivif.image_ops.contourlet_maps import Plan, join_planes, split_planes
from ivif.image_ops.padding import crop_to, pad_planes, pad_to_multiple

PAPER_LEVELS: Final = (0, 3, 3, 3)
"""Three scales of eight directions."""


class ContourletBands(NamedTuple):
    """A low-pass and the subbands of each scale.

    Attributes:
        lowpass: (B, C, H / 2^S, W / 2^S) for S scales; (B, C, H, W) if nonsubsampled. 2^S times a constant image.
        directional: The scales, coarsest first. One of size (h, w) has n wedges in two stacks: (B, C, n/2, 2h/n, w/2),
            whose waves run rather along the rows (upright edges), and (B, C, n/2, h/2, 2w/n). If nonsubsampled, both
            are (B, C, n/2, H, W). `ivif.image_ops.contourlet_filters.directional_filters` says which wedge is which.
        decimated: Whether the subbands are sampled.
    """

    lowpass: Tensor
    directional: tuple[tuple[Tensor, Tensor], ...]
    decimated: bool = True


def contourlet(
    image: Tensor, levels: Sequence[int] = PAPER_LEVELS, decimate: bool = True, margin: int = 0
) -> ContourletBands:
    """Splits images into scales and directions.

    Images are continued periodically; sides that are no multiples of `size_multiple(levels)` are padded by reflection,
    right and bottom. Without decimation the subbands follow every shift of the image, and hold the decimated ones at
    the places of their lattice.

    Args:
        image: (B, C, H, W), any range; half precision is transformed in float32, also under autocast.
        levels: Coarsest first, as in the literature: 0 for the low-pass, which is kept whole, then for each scale the
            log2 of its number of directions, >= 2.
        decimate: Whether to sample the subbands: less than 4/3 as many numbers as pixels; else an image for each.
        margin: Pixels mirrored around the image, a multiple of `size_multiple(levels)`, whose coefficients are cut off
            again. With 0 the inverse is exact, and coefficients at a border see the opposite one; with more, neither.

    Returns:
        The bands of the padded image, on its device.

    Raises:
        ValueError: If the image is no (B, C, H, W) with pixels, or the levels or the margin are impossible.
    """
    multiple = size_multiple(levels)
    if image.ndim != 4 or not image.numel():
        raise ValueError(f"The contourlet transform needs images (B, C, H, W) with pixels, got {tuple(image.shape)}.")
    if margin < 0 or margin % multiple:
        raise ValueError(f"The margin must be a multiple of {multiple} at levels {tuple(levels)}, got {margin}.")
    precise = image.to(torch.promote_types(image.dtype, torch.float32))
    padded, _ = pad_to_multiple(precise, multiple, mode="reflect")
    padded = pad_planes(padded, (margin, margin, margin, margin), mode="reflect") if margin else padded
    plan = Plan("analysis", tuple(reversed(levels[1:])), decimate)
    with torch.autocast(image.device.type, enabled=False):
        if decimate and torch.compiler.is_exporting():  # sizes are not known yet, and files have no FFT
            bands = split_by_convolution(padded.flatten(0, 1), plan.levels)
        else:
            bands = split_planes(padded.flatten(0, 1), plan)
    lowpass, *stacks = (_without_margin(band, padded, margin) for band in bands)
    pairs = tuple(zip(stacks[0::2], stacks[1::2], strict=True))
    return ContourletBands(lowpass.squeeze(2), pairs[::-1], decimate)


def inverse_contourlet(bands: ContourletBands, size: tuple[int, int] | None = None) -> Tensor:
    """Puts images together again, by the dual frame: the inverse of `contourlet`.

    Args:
        bands: What `contourlet` gave without a margin, possibly changed.
        size: (H, W) of the image if it was padded; None for all that the bands give.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: If the bands do not fit together, or `size` is larger than what they give.
    """
    _check(bands)
    levels = tuple(2 * first.shape[2] for first, _ in reversed(bands.directional))
    plan = Plan("synthesis", tuple(count.bit_length() - 1 for count in levels), bands.decimated)
    stacks = [stack for pair in reversed(bands.directional) for stack in pair]
    planes = [band.flatten(0, 1) for band in (bands.lowpass.unsqueeze(2), *stacks)]
    with torch.autocast(bands.lowpass.device.type, enabled=False):
        joined = join_planes(planes, plan)
    image = joined.reshape(*bands.lowpass.shape[:2], *joined.shape[1:])
    return image if size is None else crop_to(image, size)


def size_multiple(levels: Sequence[int] = PAPER_LEVELS) -> int:
    """What the sides of an image must be multiples of to be transformed without padding.

    Args:
        levels: As `contourlet` takes them.

    Returns:
        16 for three scales of eight directions.

    Raises:
        ValueError: If the levels are no 0 followed by numbers from 2 on, at least one.
    """
    if len(levels) < 2 or levels[0] != 0 or min(levels[1:]) < 2:
        raise ValueError(
            f"Contourlet levels are 0 for the low-pass, then log2 of the directions (2 or more) of each scale, "
            f"coarsest first, such as {PAPER_LEVELS}; got {tuple(levels)}."
        )
    return max(1 << (scale + level - 1) for scale, level in enumerate(reversed(levels[1:])))


def _without_margin(band: Tensor, padded: Tensor, margin: int) -> Tensor:
    """The subbands (B * C, n, h, w) as (B, C, n, h', w'), only what belongs to the image."""
    _, count, height, width = band.shape
    rows, columns = margin * height // padded.shape[-2], margin * width // padded.shape[-1]
    stacked = band.reshape(*padded.shape[:2], count, height, width)
    return stacked[..., rows : height - rows, columns : width - columns]


def _check(bands: ContourletBands) -> None:
    batch, channels, *size = bands.lowpass.shape
    for first, second in bands.directional:
        count = first.shape[2]
        if bands.decimated:
            size = [2 * length for length in size]
        for half, stack in enumerate((first, second)):
            rows, columns = wedge_lattice(count.bit_length(), half) if bands.decimated else (1, 1)
            expected = (batch, channels, count, size[0] // rows, size[1] // columns)
            if stack.shape != expected:
                raise ValueError(f"The bands do not fit together: expected {expected}, got {tuple(stack.shape)}.")
