"""A part of a contourlet transform, by that of a window around it: of planes too large to be transformed whole."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from ivif.image_ops.contourlet import PAPER_LEVELS, ContourletBands, contourlet, size_multiple
from ivif.image_ops.padding import mirrored_places

REACH: Final = 256
"""Pixels that a coefficient of `PAPER_LEVELS` sees beyond its own: 62 of the coarsest scale's, which is a quarter of
the size, and those of both low-pass steps. What lies beyond weighs less than 1e-8 together."""

Span = tuple[int, int]
"""First pixel, and the one behind the last."""

Picked = Callable[[Tensor, Tensor], Tensor]
"""The pixels (B, C, r, c) of a plane in r rows and c columns, given as int64 indices in any order, also repeated."""


def contourlet_part(
    plane: Picked, size: tuple[int, int], rows: Span, columns: Span, window: tuple[int, int], margin: int = 0
) -> ContourletBands:
    """What `contourlet(plane, margin=margin)` has at some pixels, to 1e-8 of the plane's range.

    Filters are made once for each size of a window: give the same one for all parts of a plane.

    Args:
        plane: Gives the plane's pixels.
        size: (H, W) of the plane.
        rows: Of the plane, padded to multiples of `size_multiple()`; both numbers are such multiples.
        columns: The same.
        window: Height and width that are transformed, at least `REACH` more than the part on all sides. Where the plane
            with its margin is not longer, that is transformed.
        margin: As `contourlet` takes it.

    Returns:
        The bands of the part.

    Raises:
        ValueError: If a part does not fit into its window or does not begin and end at multiples.
    """
    spans = [_span(length, own, side, margin) for length, own, side in zip(size, (rows, columns), window, strict=True)]
    seen = plane(*(_places(length, span, margin) for length, span in zip(size, spans, strict=True)))
    bands = contourlet(seen, PAPER_LEVELS)
    height, width = seen.shape[-2:]
    cut = [(own[0] - span[0], own[1] - span[0]) for own, span in zip((rows, columns), spans, strict=True)]

    def part(band: Tensor) -> Tensor:
        """A band's cells, each of which stands for some rows and columns of the window."""
        (top, bottom), (left, right) = cut
        tall, wide = height // band.shape[-2], width // band.shape[-1]
        return band[..., top // tall : bottom // tall, left // wide : right // wide]

    directional = tuple((part(first), part(second)) for first, second in bands.directional)
    return ContourletBands(part(bands.lowpass), directional, bands.decimated)


def window_side(part: int) -> int:
    """The shortest window for parts of up to so many pixels, a multiple of `size_multiple()`."""
    multiple = size_multiple()
    return -(-part // multiple) * multiple + 2 * REACH


def _span(length: int, own: Span, window: int, margin: int) -> Span:
    """What is transformed along one side: the window around a part, or all that there is."""
    multiple = size_multiple()
    padded = -(-length // multiple) * multiple
    if any(place % multiple for place in (*own, window)) or own[1] - own[0] + 2 * REACH > window:
        raise ValueError(
            f"A window of {window} pixels has no part {own[0]}..{own[1]}: multiples of {multiple} are needed, and "
            f"{REACH} pixels around the part."
        )
    if window >= padded + 2 * margin:
        return -margin, padded + margin
    return own[0] - REACH, own[0] - REACH + window


def _places(length: int, span: Span, margin: int) -> Tensor:
    """Which pixels of a side stand in a span of what `contourlet` transforms: mirrored, then repeated."""
    cpu = torch.device("cpu")
    padded = mirrored_places(length, 0, -length % size_multiple(), cpu)
    period = padded[mirrored_places(len(padded), margin, margin, cpu)]
    return period[(torch.arange(*span) + margin) % len(period)]
